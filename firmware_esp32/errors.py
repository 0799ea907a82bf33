"""Errors the firmware raises on purpose; each says who must act."""


class MeterError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(MeterError):
    """The installer must correct the meter's provisioning file; the text names the key."""


class LinkError(MeterError):
    """The network or the broker failed; it may heal itself, so it is tried again."""


class KissError(LinkError):
    """The time server asks to be left alone (kiss-of-death): ask rarely or elsewhere."""


class FlashError(MeterError):
    """The flash could not be written: it is full, or worn out. What is in RAM stays there."""

    def __init__(self, detail: str, full: bool = False) -> None:
        super().__init__(detail)
        self.full = full


class BadRecordError(MeterError):
    """A stored record is damaged; the caller goes on with what came before it."""


class BadBundleError(MeterError):
    """A bundle is refused and the old one keeps running; `reason` is a short word for events."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason + ": " + detail if detail else reason)
        self.reason = reason
