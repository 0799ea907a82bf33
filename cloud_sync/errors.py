"""What can go wrong on the way to the cloud; each class says who must act."""

from gateway.domain.errors import GatewayError, TransientError


class CloudDownError(TransientError):
    """The cloud or the way to it does not answer: nobody must act, the uploader tries again.

    `maybe_written`: the request may have arrived, only its answer did not.
    """

    def __init__(self, text: str, *, maybe_written: bool = False) -> None:
        super().__init__(text)
        self.maybe_written = maybe_written


class CloudBusyError(TransientError):
    """Others write the same documents: nobody must act, the uploader tries again."""


class QuotaError(TransientError):
    """The project's quota is used up: its owner waits for the next day, or changes its plan."""


class ForbiddenError(GatewayError):
    """The project refuses this gateway: its owner must look at rules, roles and the site's id."""


class CredentialError(GatewayError):
    """The credentials are refused: an administrator must renew them, or set the clock."""


class RejectedError(GatewayError):
    """The cloud refuses these very documents for ever: one of them is set aside."""
