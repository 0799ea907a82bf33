"""What a meter says on its console becomes a cause and a next step, in the firmware's own words."""

import re
from pathlib import Path

import pytest

from provisioning.errors import BoardError, BrokerError, NetworkError
from provisioning.listening import Hearing
from tests.support.firmware import FIRMWARE


@pytest.mark.parametrize(
    ("line", "kind", "advice"),
    [
        ("[9] link: no Wi-Fi: attic", NetworkError, "its name or password is wrong"),
        (
            "[9] link: the broker refuses the meter: not authorised (wrong password?)",
            BrokerError,
            "systemctl reload mosquitto",
        ),
        ("[9] link: TLS refused: certificate has expired", BrokerError, "--broker-name"),
        (
            "[9] link: no gateway answers by mDNS; set mqtt.host if the network blocks multicast",
            NetworkError,
            "--broker",
        ),
        ("[9] link: no address for gateway.local", NetworkError, "give its address with --broker"),
        ("[9] link: 10.0.0.2:8883 does not answer", NetworkError, "a guest Wi-Fi"),
        ("[9] link: [Errno 111] ECONNREFUSED", NetworkError, "nobody listens"),
        ("[9] app: config: wifi must be a list", BoardError, "does not take its settings"),
    ],
)
def test_said_twice_it_is_the_cause(line: str, kind: type[Exception], advice: str) -> None:
    hearing = Hearing()
    hearing.hear(line)
    hearing.hear("[10] clock: set by gateway")
    with pytest.raises(kind) as caught:
        hearing.hear(line)
    assert advice in str(caught.value)
    assert f"the meter says: {line[4:]}" in str(caught.value)


def test_a_connection_wipes_the_slate() -> None:
    hearing = Hearing()
    hearing.hear("link: no Wi-Fi: attic")
    hearing.hear("[12] link: connected")
    hearing.hear("link: no Wi-Fi: attic")
    assert hearing.connected


def test_silence_is_explained_by_how_far_it_came() -> None:
    hearing = Hearing()
    assert "watch the meter with: mpremote" in str(hearing.silence(60))
    hearing.hear("[3] link: no Wi-Fi: attic")
    said = hearing.silence(60)
    assert isinstance(said, NetworkError)
    assert "(the meter says: [3] link: no Wi-Fi: attic)" in str(said)
    hearing.hear("link: connected")
    said = hearing.silence(60)
    assert isinstance(said, BrokerError)
    assert "is the gateway running? sudo systemctl status wattwarden" in str(said)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("finder.py", "no Wi-Fi: "),
        ("dial.py", "the broker refuses the meter: "),
        ("net.py", "TLS refused: "),
        ("finder.py", "no gateway answers by mDNS"),
        ("resolve.py", "no address for "),
        ("dial.py", " does not answer"),
        ("link.py", "link: connected"),
        ("app.py", ", boot "),
        ("config.py", "provision the meter"),
    ],
)
def test_the_firmware_still_says_so(module: str, words: str) -> None:
    assert re.search(re.escape(words), (Path(FIRMWARE) / module).read_text())
