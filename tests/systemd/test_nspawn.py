"""The installation on a real Debian with systemd: starts, serves, heals, goes back, moves house.

One machine for the whole module, in the order of a gateway's life. Needs root, systemd-nspawn,
mmdebstrap and once a mirror; says so when it is skipped.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.nspawn import CACHE, Machine, base, machine
from tests.support.wheels import build_wheelhouse, copy_into, other_version, with_line

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

SERVICE = "wattwarden.service"
# Speaks to the installed web server as a browser of the house would: by name, with the house's CA.
ASK_READY = """
import http.client, ssl
trust = ssl.create_default_context(cafile="/etc/wattwarden/ca.crt")
web = http.client.HTTPSConnection("energy.local", 8443, context=trust, timeout=5)
web.request("GET", "/readyz")
print(web.getresponse().status)
"""
# A meter: an account at the broker, readings by TLS, and the ack that says they are safe.
BE_A_METER = """
import json, ssl, sys, threading, time
from pathlib import Path
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from provisioning.broker_files import BrokerFiles

word, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if not word:
    word = "the kitchen's own word"
    broker = Path("/etc/mosquitto/wattwarden.passwd"), Path("/run/mosquitto/mosquitto.pid")
    accounts = BrokerFiles(*broker)
    accounts.set_password("kitchen", word)
    accounts.reload()
    time.sleep(1)
safe = threading.Event()

def heard(client, userdata, message):
    if json.loads(message.payload)["upto"] >= last:
        safe.set()

meter = Client(CallbackAPIVersion.VERSION2)
meter.username_pw_set("kitchen", word)
meter.tls_set(ca_certs="/etc/wattwarden/ca.crt", tls_version=ssl.PROTOCOL_TLS_CLIENT)
meter.on_message = heard
meter.connect("energy.local", 8883)
meter.loop_start()
meter.subscribe("ww/v1/kitchen/ack", qos=1)
rows = [
    {"boot": 7, "seq": seq, "up": 1000 * seq, "t": int(time.time() * 1000), "dt": 1000,
     "v": 230.0, "f": 50.0,
     "ch": {"grid": {"i": 1.0, "p": 230.0, "wh_in": 1.0 * seq, "wh_out": 0.0}}}
    for seq in range(first, last + 1)
]
meter.publish("ww/v1/kitchen/readings", json.dumps(rows), qos=1)
print("safe" if safe.wait(20) else "no ack")
"""
# Runs with the service's own sandbox: what it could do if somebody took it over.
PROBE = """
import ctypes, json, mmap, os, socket, subprocess, sys
def tried(act):
    try:
        act()
    except (OSError, PermissionError, ValueError) as error:
        return f"refused: {error}"
    return "done"
def write(folder):
    path = os.path.join(folder, "probe-of-the-sandbox")
    with open(path, "w") as stream:
        stream.write("x")
    os.unlink(path)
def run_own_program():
    path = "/var/lib/wattwarden/probe.sh"
    with open(path, "w") as stream:
        stream.write("#!/bin/sh\\nexit 0\\n")
    os.chmod(path, 0o700)
    try:
        subprocess.run([path], check=True)
    finally:
        os.unlink(path)
def raw_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
def new_namespace():
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
def code_at_run_time():
    mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)
found = {"write " + folder: tried(lambda folder=folder: write(folder)) for folder in sys.argv[1:]}
found |= {
    "run": tried(run_own_program), "raw": tried(raw_socket), "namespace": tried(new_namespace),
    "code": tried(code_at_run_time), "root": tried(lambda: os.setuid(0)),
    "shadow": tried(lambda: open("/etc/shadow").read()),
    "secret": tried(lambda: open("/etc/wattwarden/mqtt.password").read()),
    "ca key": tried(lambda: open("/etc/wattwarden/authority/ca.key").read()),
    "settings": tried(lambda: open("/etc/wattwarden/config.toml").read()),
    "broker": tried(lambda: open("/etc/mosquitto/wattwarden.passwd").read()),
    "clock": tried(lambda: __import__("time").clock_settime(0, 1)),
    "credential": tried(lambda: open(os.environ["CREDENTIALS_DIRECTORY"] + "/mqtt").read()),
}
print("FOUND " + json.dumps(found))
"""
OPEN_PLACES = ("/var/lib/wattwarden", "/tmp")  # noqa: S108 - a private one
CLOSED_PLACES = (
    "/", "/etc", "/etc/wattwarden", "/etc/mosquitto", "/usr/local/bin", "/opt/wattwarden", "/boot",
    "/home", "/root", "/var/lib", "/var/lib/mosquitto", "/var/log", "/run", "/run/systemd",
    "/dev", "/sys", "/proc/sys/kernel",
)  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder both sides see, with a wheelhouse in it."""
    base()
    house = build_wheelhouse(CACHE / "wheelhouse")
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(house, folder / "wheelhouse")
    return folder


@pytest.fixture(scope="module")
def pi(shared: Path) -> Iterator[Machine]:
    """Give a machine on which `install.sh --yes` has just run."""
    with machine(shared) as made:
        with made.path("/etc/hosts").open("a") as hosts:
            hosts.write("127.0.0.1 localhost energy energy.local\n")
        said = made.ok("/shared/wheelhouse/install.sh", "--yes", "--hostname", "energy")
        assert "done:" in said
        assert "setup code" in said or "with this code:" in said
        yield made


def wait_for(what: Callable[[], bool], *, within_s: float) -> None:
    until_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until_s, f"not within {within_s} s"
        time.sleep(1)


def ready(pi: Machine) -> bool:
    done = pi.run("/opt/wattwarden/bin/python", "-", given=ASK_READY)
    return done.stdout.strip() == "200"


def meter(pi: Machine, first: int, last: int, word: str = "the kitchen's own word") -> str:
    return pi.python(BE_A_METER, word, str(first), str(last)).strip()


def release(pi: Machine) -> str:
    return pi.ok("readlink", "/opt/wattwarden/current").strip().removeprefix("releases/")


def stored(pi: Machine) -> int:
    text = pi.ok("wattwarden", "export", "--meter", "kitchen", "--channel", "grid",
                 "--start", "2020-01-01", "--end", "2100-01-01", "--format", "jsonl")  # fmt: skip
    return len(text.splitlines())


def test_it_starts_says_ready_and_serves(pi: Machine) -> None:
    assert pi.show(SERVICE, "ActiveState") == "active"
    assert pi.show(SERVICE, "Type") == "notify"
    assert pi.show(SERVICE, "StatusText").startswith("wattwarden ")
    assert pi.ok("systemctl", "is-enabled", SERVICE, "mosquitto").split() == ["enabled"] * 2
    wait_for(lambda: ready(pi), within_s=20)
    assert meter(pi, 0, 9, word="") == "safe"
    assert stored(pi) == 10


def test_the_installed_unit_passes_systemds_own_checks(pi: Machine) -> None:
    said = pi.run("systemd-analyze", "verify", f"/etc/systemd/system/{SERVICE}")
    complaints = [line for line in said.stderr.splitlines() if "Unknown key 'Restart" not in line]
    assert complaints == []
    rated = pi.run("systemd-analyze", "security", "--threshold=20", "--no-pager", SERVICE)
    assert rated.returncode == 0, rated.stdout[-400:]


def test_rights_of_what_was_installed(pi: Machine) -> None:
    wanted = {
        "/etc/wattwarden": "750 root wattwarden",
        "/etc/wattwarden/config.toml": "640 root wattwarden",
        "/etc/wattwarden/mqtt.password": "600 root root",
        "/etc/wattwarden/authority/ca.key": "600 root root",
        "/etc/credstore/wattwarden.web.key": "600 root root",
        "/etc/mosquitto/wattwarden.passwd": "640 root mosquitto",
        "/etc/mosquitto/wattwarden.acl": "640 root mosquitto",
        "/etc/mosquitto/certs/wattwarden-broker.key": "640 root mosquitto",
        "/var/lib/wattwarden": "700 wattwarden wattwarden",
        "/var/lib/wattwarden/wattwarden.db": "600 wattwarden wattwarden",
    }
    said = pi.ok("stat", "--format=%n %a %U %G", *wanted)
    assert dict(line.split(" ", 1) for line in said.splitlines()) == wanted


def test_the_sandbox_holds(pi: Machine) -> None:
    unit = pi.path(f"/etc/systemd/system/{SERVICE}").read_text()
    pi.path("/opt/wattwarden/probe.py").write_text(PROBE)
    lines = [
        line
        for line in unit.splitlines()
        if not line.startswith(("Type=", "Restart", "Watchdog", "ExecStart=", "NotifyAccess="))
    ]
    places = " ".join((*OPEN_PLACES, *CLOSED_PLACES))
    command = f"ExecStart=/opt/wattwarden/bin/python /opt/wattwarden/probe.py {places}"
    at = lines.index("[Service]") + 1
    lines[at:at] = ["Type=oneshot", command]
    # Its own folder of credentials is named after the unit; the state folder is the service's.
    pi.path("/etc/systemd/system/probe.service").write_text("\n".join(lines))
    pi.ok("systemctl", "daemon-reload")
    pi.ok("systemctl", "start", "probe.service")
    text = pi.ok("journalctl", "-u", "probe.service", "-o", "cat", "--no-pager")
    found = json.loads(next(line for line in text.splitlines() if "FOUND" in line)[6:])
    may = {f"write {place}" for place in OPEN_PLACES} | {"settings", "credential"}
    assert {what for what, how in found.items() if how == "done"} == may, found


def test_a_second_run_changes_nothing(pi: Machine) -> None:
    began = pi.show(SERVICE, "ExecMainStartTimestamp")
    said = pi.ok("/shared/wheelhouse/install.sh", "--yes", "--hostname", "energy")
    assert "nothing to do" in said
    assert pi.show(SERVICE, "ExecMainStartTimestamp") == began


def test_a_hung_daemon_is_restarted_by_the_watchdog(pi: Machine) -> None:
    before = pi.show(SERVICE, "MainPID")
    pi.ok("bash", "-c", f"kill -STOP {before}")
    wait_for(lambda: pi.show(SERVICE, "MainPID") not in (before, "0"), within_s=90)
    wait_for(lambda: ready(pi), within_s=60)
    assert "Watchdog timeout" in pi.ok("journalctl", "-u", SERVICE, "--no-pager")
    assert meter(pi, 10, 19) == "safe"
    assert stored(pi) == 20


def test_a_killed_broker_comes_back_by_itself(pi: Machine) -> None:
    pi.ok("systemctl", "kill", "--signal=KILL", "mosquitto")
    wait_for(lambda: pi.show("mosquitto", "ActiveState") == "active", within_s=20)
    wait_for(lambda: ready(pi), within_s=60)


def test_the_doctor_finds_an_installation_sound(pi: Machine) -> None:
    said = pi.run("wattwarden", "doctor", "--json")
    checks = json.loads(said.stdout)["checks"]
    assert [one for one in checks if one["level"] == "error"] == []
    names = {one["name"] for one in checks}
    assert {"broker", "database", "hardening", "certificate web"} <= names


def test_a_good_version_takes_over(pi: Machine, shared: Path) -> None:
    house = shared / "wheelhouse"
    (wheel,) = house.glob("wattwarden-*.whl")
    newer = other_version(wheel, shared / "newer", "9.1.0")
    copy_into(newer, house)
    said = pi.ok("wattwarden", "upgrade", "--wheelhouse", "/shared/wheelhouse", "--yes")
    assert "wattwarden 9.1.0 runs" in said
    assert release(pi) == "9.1.0-1"
    assert ready(pi)
    assert stored(pi) == 20
    assert pi.ok("bash", "-c", "ls /var/lib/wattwarden/*.before-upgrade-from-*")


def test_a_version_that_does_not_become_ready_is_rolled_back(pi: Machine, shared: Path) -> None:
    house = shared / "wheelhouse"
    (wheel,) = house.glob("wattwarden-*.whl")
    hangs = with_line("gateway/adapters/systemd.py", "def notify(*lines: str) -> None: ...")
    bad = other_version(wheel, shared / "hangs", "9.2.0", hangs)
    # systemd waits for READY as long as the unit says; less here, so that the test ends.
    drop_in = pi.path("/etc/systemd/system/wattwarden.service.d/test.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nTimeoutStartSec=10\n")
    pi.ok("systemctl", "daemon-reload")
    which = ("--wheel", f"/shared/hangs/{bad.name}", "--wheelhouse", "/shared/wheelhouse")
    said = pi.run("wattwarden", "upgrade", *which, "--yes")
    assert said.returncode == 1
    assert "9.1.0-1 runs again" in said.stderr
    assert release(pi) == "9.1.0-1"
    wait_for(lambda: ready(pi), within_s=30)
    assert stored(pi) == 20
    assert meter(pi, 20, 29) == "safe"


def test_to_a_new_card_and_back_with_everything(pi: Machine) -> None:
    assert meter(pi, 0, 29, word="") == "safe"  # again: nothing is counted twice
    keys = pi.ok("sha256sum", "/etc/wattwarden/authority/ca.key", "/etc/wattwarden/mqtt.password",
                 "/etc/mosquitto/wattwarden.passwd")  # fmt: skip
    pi.ok("wattwarden", "backup", "--everything", "/shared/home.wattwarden")
    gone = pi.ok("wattwarden", "uninstall", "--purge", "--yes")
    assert "removed" in gone
    for path in ("/opt/wattwarden", "/etc/wattwarden", "/var/lib/wattwarden",
                 "/etc/mosquitto/wattwarden.passwd", f"/etc/systemd/system/{SERVICE}"):  # fmt: skip
        assert pi.run("test", "-e", path).returncode == 1, path
    assert pi.run("id", "wattwarden").returncode == 1
    assert pi.show("mosquitto", "ActiveState") == "active"

    pi.ok("/shared/wheelhouse/install.sh", "--yes", "--hostname", "energy")
    assert pi.ok("sha256sum", "/etc/wattwarden/authority/ca.key").split()[0] not in keys
    pi.ok("systemctl", "stop", SERVICE)
    said = pi.ok("wattwarden", "restore", "/shared/home.wattwarden", "--yes")
    assert "is restored" in said
    pi.ok("systemctl", "start", SERVICE)
    wait_for(lambda: ready(pi), within_s=30)
    again = pi.ok("sha256sum", "/etc/wattwarden/authority/ca.key", "/etc/wattwarden/mqtt.password",
                  "/etc/mosquitto/wattwarden.passwd")  # fmt: skip
    assert again == keys
    # The meter knows nothing of all this: same name, same password, same CA.
    assert meter(pi, 30, 39) == "safe"
    assert stored(pi) == 40


def test_uninstall_keeps_the_readings(pi: Machine) -> None:
    said = pi.ok("wattwarden", "uninstall", "--yes")
    assert "kept for a later installation" in said
    assert pi.run("test", "-e", "/usr/local/bin/wattwarden").returncode == 1
    assert pi.run("test", "-s", "/var/lib/wattwarden/wattwarden.db").returncode == 0
    pi.ok("/shared/wheelhouse/install.sh", "--yes", "--hostname", "energy")
    wait_for(lambda: ready(pi), within_s=30)
    assert stored(pi) == 40


def test_a_start_that_fails_takes_everything_back(pi: Machine) -> None:
    pi.ok("wattwarden", "uninstall", "--purge", "--yes")
    server = "import socket, time; s = socket.create_server(('0.0.0.0', 8883)); time.sleep(3600)"
    pi.ok("systemd-run", "--quiet", "--unit=squatter", "/usr/bin/python3", "-c", server)
    said = pi.run("/shared/wheelhouse/install.sh", "--yes", "--hostname", "energy")
    assert said.returncode == 1
    assert "mosquitto" in said.stderr
    assert "nothing was changed" in said.stderr
    for path in ("/opt/wattwarden", "/etc/wattwarden", "/etc/mosquitto/wattwarden.passwd"):
        assert pi.run("test", "-e", path).returncode == 1, path
    assert pi.show("mosquitto", "ActiveState") == "active"
