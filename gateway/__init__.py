"""The Wattwarden gateway: the daemon on the Pi and its command line."""

__version__ = "0.1.0"
