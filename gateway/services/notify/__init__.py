"""Telling people: which changes of alerts are news, for whom, when, in which words and by what."""
