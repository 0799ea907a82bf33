"""The firmware's own version, told in `state`."""

VERSION = "1.0.0"
