"""Ask a gateway on this machine whether it is ready, over its own web server."""

import contextlib
import http.client
import json
import ssl
import time

from gateway.settings import WebSettings

PATIENCE_S = 5.0
LOOK_S = 0.2


def readyz(web: WebSettings, *, start_s: float = 0.0) -> tuple[bool, str]:
    """Return whether `/readyz` says yes, and if not why.

    A web server that does not listen is asked again for `start_s`: after a start it comes last
    (decision 22).
    """
    until_s = time.monotonic() + start_s
    while True:
        try:
            status, text = _asked(web)
        except ConnectionRefusedError as error:
            if time.monotonic() >= until_s:
                return False, f"web.port {web.port} does not answer: {error}"
            time.sleep(LOOK_S)
        except (OSError, http.client.HTTPException) as error:
            return False, f"web.port {web.port} does not answer: {error}"
        else:
            return status == http.client.OK, "" if status == http.client.OK else _why(text)


def _asked(web: WebSettings) -> tuple[int, str]:
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared
    host = anywhere.get(web.host, web.host)
    if web.cert_file is None:
        connection = http.client.HTTPConnection(host, web.port, timeout=PATIENCE_S)
    else:  # our own process, asked whether it lives: its name in the certificate does not matter
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, web.port, timeout=PATIENCE_S, context=blind)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read(2000).decode("utf-8", "replace")
    finally:
        connection.close()


def _why(text: str) -> str:
    """Return what a problem+json says, else the text as it is."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["detail"])
    return text
