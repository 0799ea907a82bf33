"""What stops an installer; every text names the cause and what to do next."""

from gateway.domain.errors import BadInputError, GatewayError


class PortError(GatewayError):
    """The serial port cannot be used: the person at the cable must act."""


class BoardError(GatewayError):
    """The board does not do what it should: the person in front of it must act."""


class ImageError(BadInputError):
    """The MicroPython image is not fit for this board; nothing was written."""


class BrokerError(GatewayError):
    """The broker does not take the meter: the administrator must look at it."""


class NetworkError(GatewayError):
    """The meter does not find its way to the gateway: Wi-Fi or network must be put right."""
