"""Puts the gateway onto a Debian machine and takes it away again: files, accounts, services."""
