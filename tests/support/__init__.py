"""Rigs for tests: brokers, meters, daemons; none of it is shipped."""
