"""Ask a gateway on this machine whether it is ready, over its own web server."""

import contextlib
import http.client
import json
import ssl

from gateway.settings import WebSettings

PATIENCE_S = 5.0


def readyz(web: WebSettings) -> tuple[bool, str]:
    """Return whether `/readyz` says yes, and if not why."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared
    host, port = anywhere.get(web.host, web.host), web.port
    if web.cert_file is None:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    else:  # our own process, asked whether it lives: its name in the certificate does not matter
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=blind)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(2000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"web.port {port} does not answer: {error}"
    finally:
        connection.close()
    if answer.status == http.client.OK:
        return True, ""
    with contextlib.suppress(ValueError, KeyError, TypeError):  # else no problem+json of ours
        text = str(json.loads(text)["detail"])
    return False, text
