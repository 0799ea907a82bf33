"""Tests of the functions share one Firebase, which is gone again behind the last of them."""
