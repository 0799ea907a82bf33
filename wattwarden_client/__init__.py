"""A small client of a Wattwarden gateway's local API, for scripts and notebooks (docs/client.md).

Needs nothing but Python; `Gateway.frame` needs pandas. See docs/api.md for what the calls give.
"""

from wattwarden_client.client import ApiError, Event, Gateway, Json

__all__ = ["ApiError", "Event", "Gateway", "Json"]
