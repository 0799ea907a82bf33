"""A look at the broker's door as a meter sees it: does it open, is its certificate good."""

import datetime as dt
import socket
import ssl
import struct
import time
from typing import Final

from provisioning.errors import BrokerError
from provisioning.meter_config import Door

ACCEPTED: Final = 0
_WAIT_S: Final = 5.0
_RELOAD_S: Final = 5.0
_CONNECT, _CONNACK = 0x10, 0x20
_CLEAN, _USER, _PASSWORD = 0x02, 0x80, 0x40
# X509_V_ERR_… of OpenSSL.
_NOT_YET, _EXPIRED, _WRONG_NAME = 9, 10, 62


def look(address: str, door: Door) -> None:
    """Open the door without logging in; BrokerError says what a meter would stumble over."""
    _open(address, door).close()


def wait_for_login(
    address: str, door: Door, user: str, password: str, *, within_s: float = _RELOAD_S
) -> None:
    """Wait until the broker takes this login; it reads its files again in its own time.

    BrokerError when it still refuses after `within_s`.
    """
    until_s = time.monotonic() + within_s
    while (code := login(address, door, user, password)) != ACCEPTED:
        if time.monotonic() > until_s:
            msg = (
                f"the broker refuses {user} (code {code}) though it has an account; does mosquitto"
                " read this password file? See its password_file setting, then: sudo systemctl"
                " restart mosquitto"
            )
            raise BrokerError(msg)
        time.sleep(0.2)


def login(address: str, door: Door, user: str, password: str) -> int:
    """Return the code of CONNACK (MQTT 3.1.1, 3.2.2.3). BrokerError when nobody answers."""
    # A client id of its own: the meter's would cut the meter off.
    body = _text("MQTT") + bytes((4, _CLEAN | _USER | _PASSWORD)) + struct.pack(">H", 10)
    body += _text(f"{user}-check") + _text(user) + _text(password)
    with _open(address, door) as wire:
        try:
            wire.sendall(bytes((_CONNECT,)) + _length(len(body)) + body)
            answer = wire.recv(4)
        except OSError as error:
            raise BrokerError(_silent(address, door, error)) from error
    if len(answer) < 4 or answer[0] != _CONNACK:  # noqa: PLR2004 - its only length
        raise BrokerError(_silent(address, door, "no answer to CONNECT"))
    return answer[3]


def _open(address: str, door: Door) -> socket.socket:
    try:
        wire = socket.create_connection((address, door.port), timeout=_WAIT_S)
    except OSError as error:
        raise BrokerError(_silent(address, door, error)) from error
    if door.ca is None:
        return wire
    try:
        context = ssl.create_default_context(cadata=door.ca.decode())
        return context.wrap_socket(wire, server_hostname=door.name or door.host or address)
    except ssl.SSLCertVerificationError as error:
        raise BrokerError(_distrust(error, door)) from error
    except (OSError, ValueError) as error:
        raise BrokerError(_silent(address, door, error)) from error


def _silent(address: str, door: Door, why: object) -> str:
    return (
        f"the broker's door for meters at {address}:{door.port} does not open ({why}); is"
        " mosquitto running, and is wattwarden-lan.conf in its conf.d? See: wattwarden doctor"
    )


def _distrust(error: ssl.SSLCertVerificationError, door: Door) -> str:
    if error.verify_code in {_NOT_YET, _EXPIRED}:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="minutes")
        return (
            f"the broker's certificate is not valid now ({error.verify_message}); this machine's"
            f" clock says {now}: if that is wrong, set it (sudo timedatectl set-ntp true), else"
            " renew the certificate: sudo wattwarden install"
        )
    if error.verify_code == _WRONG_NAME:
        return (
            f"the broker's certificate is not made out to {door.name or door.host!r}; give the"
            " name it carries with --broker-name"
        )
    return (
        f"the broker's certificate is not from the site's authority ({error.verify_message});"
        " put the right one in place: sudo wattwarden install"
    )


def _text(words: str) -> bytes:
    data = words.encode()
    return struct.pack(">H", len(data)) + data


def _length(count: int) -> bytes:
    """Return MQTT's variable-length number (2.2.3)."""
    done = bytearray()
    while True:
        count, digit = divmod(count, 128)
        done.append(digit | (0x80 if count else 0))
        if not count:
            return bytes(done)
