"""Errors the gateway raises on purpose; each says who must act."""


class GatewayError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(GatewayError):
    """The operator must edit the settings, the command, or a file they name."""


class SchemaTooNewError(ConfigError):
    """The database was written by a newer version: install that version, or restore a backup."""


class AlreadyRunningError(ConfigError):
    """Another process owns this database: stop it first, or use the control socket."""


class BadInputError(GatewayError):
    """The person or program that called gave something unusable; nothing was changed."""


class NotFoundError(BadInputError):
    """What was asked for does not exist."""


class BadPayloadError(GatewayError):
    """A device's message is malformed: dead-letter it, count it, go on.

    `reason` is a short stable word for counting, `detail` a sentence for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class StorageError(GatewayError):
    """The database cannot be written or read: the administrator must look at the disk."""


class TransientError(GatewayError):
    """The world may heal itself: the supervisor retries with backoff."""


class MeterAwayError(TransientError):
    """A meter is offline, silent or busy: the gateway itself is well, and may be asked again."""


class BrokerLostError(TransientError):
    """The MQTT connection dropped or could not be made."""


class ConflictError(BadInputError):
    """What there is does not allow it, by itself or by now: look again, then decide anew."""
