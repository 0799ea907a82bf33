"""Installing below a staging root in this process, and what must be there afterwards."""

from pathlib import Path

from tests.gateway.cli.rig import Said, run

WANTED = {
    "etc/wattwarden/config.toml": 0o640,
    "etc/wattwarden/mqtt.password": 0o600,
    "etc/wattwarden/ca.crt": 0o644,
    "etc/wattwarden/web.crt": 0o644,
    "etc/wattwarden/authority/ca.key": 0o600,
    "etc/credstore/wattwarden.web.key": 0o600,
    "etc/mosquitto/wattwarden.passwd": 0o640,
    "etc/mosquitto/wattwarden.acl": 0o640,
    "etc/mosquitto/certs/wattwarden-broker.key": 0o640,
    "etc/mosquitto/conf.d/wattwarden.conf": 0o644,
    "etc/mosquitto/conf.d/wattwarden-lan.conf": 0o644,
    "etc/systemd/system/wattwarden.service": 0o644,
    "etc/systemd/system/wattwarden-certificates.timer": 0o644,
    "etc/systemd/system/mosquitto.service.d/wattwarden.conf": 0o644,
    "etc/systemd/journald.conf.d/wattwarden.conf": 0o644,
    "usr/lib/sysusers.d/wattwarden.conf": 0o644,
}


def install(root: Path, wheel: Path, *options: str) -> Said:
    """Run `wattwarden install` below a root."""
    arguments = ("--wheel", str(wheel), "--root", str(root), "--extras", "", "--yes")
    return run("install", *arguments, "--hostname", "energy", *options)
