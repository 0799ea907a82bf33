"""Installing into a staging root with the real pip, venv and mosquitto; what goes wrong, too."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest

from gateway.adapters.doctor_system import behind_credential, certificates, hardening
from gateway.adapters.installer.layout import Layout
from gateway.settings import Settings
from tests.gateway.cli.rig import run
from tests.support.installing import WANTED, install
from tests.support.mosquitto import find_mosquitto
from tests.support.ports import free_port, wait_for_port
from tests.support.wheels import other_version

pytestmark = pytest.mark.timeout(600)  # pip and venv on a busy machine

FSTAB = "PARTUUID=1-02  /  ext4  defaults  0  1\nPARTUUID=1-01  /boot  vfat  defaults  0  2\n"


@pytest.fixture(scope="module")
def root(wheel: Path, bare: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a staging root with an installation."""
    made = tmp_path_factory.mktemp("root")
    (made / "etc").mkdir()
    (made / "etc" / "fstab").write_text(FSTAB)
    (made / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Lisbon")
    said = install(made, wheel)
    assert said.status == 0, said
    assert "staged below" in said.out
    return made


def test_every_file_is_there_with_its_rights(root: Path) -> None:
    found = {name: (root / name).stat().st_mode & 0o777 for name in WANTED}
    assert found == WANTED
    settings = Settings.load(root / "etc/wattwarden/config.toml")
    assert settings.site.timezone == "Europe/Lisbon"
    assert settings.web.host == "0.0.0.0"  # noqa: S104 - the home's network is to reach it
    assert settings.web.port == 8443
    assert str(settings.web.key_file) == "/run/credentials/wattwarden.service/web.key"
    assert "LoadCredential=web.key:wattwarden.web.key" in (
        (root / "etc/systemd/system/wattwarden.service").read_text()
    )
    fstab = (root / "etc/fstab").read_text()
    assert fstab == FSTAB.replace("ext4  defaults", "ext4  defaults,noatime")


def test_the_program_names_the_installed_systems_paths(root: Path) -> None:
    program = root / "opt/wattwarden"
    script = (program / "bin/wattwarden").read_text()
    assert re.match(r"#!/opt/wattwarden/releases/[\d.]+-1/bin/python", script)
    for path in (program / "current" / "bin").iterdir():
        if path.is_file() and not path.is_symlink():
            assert str(root).encode() not in path.read_bytes(), path
    link = root / "usr/local/bin/wattwarden"
    assert str(link.readlink()) == "/opt/wattwarden/bin/wattwarden"
    done = subprocess.run(
        [program / "bin/python", "-P", "-c", "import gateway; print(gateway.__file__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "/lib/python3" in done.stdout


def test_a_second_run_has_nothing_to_do(root: Path, wheel: Path) -> None:
    before = {name: (root / name).read_bytes() for name in WANTED}
    said = install(root, wheel)
    assert (said.status, "nothing to do" in said.out) == (0, True), said
    assert {name: (root / name).read_bytes() for name in WANTED} == before


def test_systemd_accepts_the_installed_units(root: Path) -> None:
    if subprocess.run(["systemd-analyze", "--version"], check=False).returncode != 0:
        pytest.skip("systemd-analyze is not installed")
    folder, targets = root / "etc/systemd/system", root / "usr/lib/systemd"
    shutil.copytree("/usr/lib/systemd/system", targets / "system", symlinks=True)
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", "--man=no",
         *(str(path.relative_to(root)) for path in folder.glob("wattwarden*"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    shutil.rmtree(targets)
    ours = [line for line in done.stderr.splitlines() if "wattwarden" in line]
    # systemd before 254 does not know how to double its pauses.
    assert [line for line in ours if "Unknown key 'Restart" not in line] == [], done.stderr
    facts = hardening(Layout(root))
    assert facts is not None
    assert (facts.open_files, facts.upgrading) == ([], False)
    assert facts.exposure is not None
    assert facts.exposure <= 2.0


def test_the_doctor_reads_the_certificates(root: Path) -> None:
    settings = Settings.load(root / "etc/wattwarden/config.toml")
    days = {one.name: one.days or 0.0 for one in certificates(settings, Layout(root))}
    assert set(days) == {"web", "broker", "authority"}
    assert 800 < days["web"] < 826  # phones refuse what is good for longer
    assert days["broker"] > 3000
    shown = run("certificates", "show", "--root", str(root)).out
    assert "energy.local" in shown


def test_the_doctor_finds_what_is_behind_a_credential(root: Path) -> None:
    layout, given = Layout(root), Path("/run/credentials/wattwarden.service")
    assert behind_credential(given / "mqtt", layout) == layout.mqtt_password
    assert behind_credential(given / "web.key", layout) == layout.web_key
    assert behind_credential(given / "firebase", layout) == given / "firebase"  # none there
    assert behind_credential(root / "etc/fstab", layout) == root / "etc/fstab"
    assert behind_credential(given / "mqtt", Layout(root / "none")) == given / "mqtt"


def test_an_open_secret_is_an_error(root: Path) -> None:
    password = Layout(root).mqtt_password
    password.chmod(0o644)
    facts = hardening(Layout(root))
    password.chmod(0o600)
    assert facts is not None
    assert facts.open_files == [f"{password} (mode 0644)"]


def test_certificates_are_renewed_under_the_same_authority(root: Path) -> None:
    web = root / "etc/wattwarden/web.crt"
    before, ca = web.read_bytes(), (root / "etc/wattwarden/ca.crt").read_bytes()
    assert "nothing ends" in run("certificates", "renew", "--root", str(root)).out
    said = run("certificates", "renew", "--within-days", "900", "--root", str(root))
    assert said.status == 0, said
    assert "web.crt (energy.local, energy" in said.out
    assert web.read_bytes() != before
    assert (root / "etc/wattwarden/ca.crt").read_bytes() == ca
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(web, root / "etc/credstore/wattwarden.web.key")


@pytest.fixture(scope="module")
def ports(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Run mosquitto on the installed configuration; give its plain and its TLS port."""
    binary = find_mosquitto()
    if binary is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    plain, secure = free_port(), free_port()
    state = tmp_path_factory.mktemp("mosquitto")
    text = f"persistence true\npersistence_location {state}/\n"
    for path in sorted((root / "etc/mosquitto/conf.d").iterdir()):
        text += path.read_text() + "\n"
    text = text.replace("/etc/mosquitto/", f"{root}/etc/mosquitto/")
    text = text.replace("listener 1883 ", f"listener {plain} ")
    text = text.replace("listener 8883", f"listener {secure} 127.0.0.1")
    if os.geteuid() == 0:
        text += "user root\n"  # else it gives up the right to the test's files
    conf = state / "mosquitto.conf"
    conf.write_text(text)
    process = subprocess.Popen([binary, "-c", str(conf)])
    try:
        wait_for_port(plain)
        wait_for_port(secure)
        yield plain, secure
    finally:
        process.terminate()
        process.wait(timeout=5)


async def test_mosquitto_runs_on_the_installed_files(root: Path, ports: tuple[int, int]) -> None:
    password = (root / "etc/wattwarden/mqtt.password").read_text().strip()
    trust = ssl.create_default_context(cafile=str(root / "etc/wattwarden/ca.crt"))
    async with (
        aiomqtt.Client("127.0.0.1", ports[0], username="gateway", password=password) as own,
        aiomqtt.Client(
            "localhost", ports[1], username="gateway", password=password, tls_context=trust
        ) as secure,
    ):
        await own.subscribe("ww/v1/#", qos=1)
        await secure.publish("ww/v1/kitchen/cmd", b"1", qos=1)
        async with asyncio.timeout(5):
            message = await anext(aiter(own.messages))
    assert message.topic.value == "ww/v1/kitchen/cmd"
    for user, word in ((None, None), ("gateway", "guessed"), ("kitchen", password)):
        with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori[sz]ed"):
            async with aiomqtt.Client("127.0.0.1", ports[0], username=user, password=word):
                pass
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)certificate"):
        async with aiomqtt.Client(
            "localhost", ports[1], username="gateway", password=password,
            tls_context=ssl.create_default_context(),
        ):  # fmt: skip
            pass


def test_what_people_changed_is_left_alone(root: Path, wheel: Path, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        ours = name.endswith(("wattwarden.conf", "journald.conf"))
        return content + b"# of 9.0.0\n" if ours else content

    newer = other_version(wheel, tmp_path, "9.0.0", change)
    conf = root / "etc/mosquitto/conf.d/wattwarden.conf"
    edited = conf.read_text() + "connection_messages true\n"
    conf.write_text(edited)
    config = root / "etc/wattwarden/config.toml"
    config.write_text(config.read_text() + "# mine\n")
    word = (root / "etc/wattwarden/mqtt.password").read_text()
    said = install(root, newer)
    assert said.status == 0, said
    assert "changed by hand" in said.out
    assert conf.read_text() == edited
    beside = conf.with_name("wattwarden.conf.wattwarden-new")
    assert beside.read_text().endswith("# of 9.0.0\n")
    assert (root / "etc/systemd/journald.conf.d/wattwarden.conf").read_text().endswith("9.0.0\n")
    assert config.read_text().endswith("# mine\n")
    assert (root / "etc/wattwarden/mqtt.password").read_text() == word
    assert str((root / "opt/wattwarden/current").readlink()) == "releases/9.0.0-1"


def test_uninstall_keeps_data_and_purge_does_not(root: Path) -> None:
    database = root / "var/lib/wattwarden/wattwarden.db"
    database.parent.mkdir(parents=True)
    database.write_text("readings")
    said = run("uninstall", "--root", str(root), "--yes")
    assert said.status == 0, said
    assert "rm -r" in said.out
    kept = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert not [name for name in kept if name.startswith(("opt/", "usr/", "etc/systemd/"))]
    # What was changed by hand is not thrown away either.
    assert "etc/wattwarden/kept/wattwarden.conf" in kept
    assert {"var/lib/wattwarden/wattwarden.db", "etc/mosquitto/wattwarden.passwd"} <= kept
    assert run("uninstall", "--root", str(root), "--yes").out.strip().startswith("nothing")
    said = run("uninstall", "--purge", "--root", str(root), "--yes")
    assert said.status == 0, said
    left = {path.name for path in root.rglob("*") if path.is_file()}
    assert left - {"localtime"} == {"fstab"}
