"""The matrix of faults: what is broken, how, and the tests that break it."""

from typing import NamedTuple


class Row(NamedTuple):
    """One row of the matrix; `tests` are pytest's words for it (files, nodes, `-k`)."""

    fault: str
    how: str
    passes: str
    tests: tuple[str, ...]


POWER, LOAD, DISK = (f"tests/faults/test_{name}.py" for name in ("power", "load", "disk"))
HANGS = "tests/faults/test_hangs.py"

ROWS = (
    Row(
        "SIGKILL of the daemon", "100 times at random during intake at 500/s",
        "0 missing, 0 twice", (f"{POWER}::test_kills_at_random_moments",),
    ),
    Row(
        "power cut", "ext4 shut down by ioctl, 100 times; control without syncs",
        "every acknowledged reading is there, integrity ok; the control loses rows",
        (
            f"{POWER}::test_what_was_acknowledged_survives_a_power_cut",
            f"{POWER}::test_the_cut_is_one",
        ),
    ),
    Row(
        "power cut, torn sectors", "5,000 cuts under a VFS that notes writes and syncs",
        "nothing committed is lost, nothing broken", ("tests/faults/test_crash_vfs.py",),
    ),
    Row(
        "broker killed, its persistence wiped", "20 times",
        "0 missing after the meters resend",
        (f"{POWER}::test_a_broker_that_is_killed_and_forgets_everything",),
    ),
    Row(
        "disk full, EIO, read-only, 200 ms a sync", "tmpfs, strace, ext4's own error",
        "no acknowledgement without a commit, alert, recovers within 10 s", (DISK,),
    ),
    Row(
        "pages of the database zeroed", "at rest and while running",
        "set aside, salvaged, intake resumes, alert",
        ("tests/faults/test_damage.py", "tests/faults/test_salvage.py"),
    ),
    Row(
        "wrong clocks",
        "1970, 2000, steps of ±1 h and ±400 days, days of 23 and 25 hours, a smeared leap second",
        "nothing purged, no storm of alerts, energy of a day within 0.1 %",
        ("tests/faults/test_clock.py", "tests/faults/test_dst.py"),
    ),
    Row(
        "SIGSTOP", "2 to 150 s", "no false meter_silent",
        (f"{HANGS}::test_a_pause_of_the_gateway_silences_no_meter",),
    ),
    Row(
        "hang of the loop", "a blocking call", "the watchdog restarts it",
        (f"{HANGS}::test_a_loop_that_hangs_is_killed_and_started_again",),
    ),
    Row(
        "a detector that raises, hangs, blocks or answers NaN", "put in by the test",
        "off with an alert, intake unharmed, nothing unjudged once mended",
        ("tests/faults/test_detectors.py",),
    ),
    Row(
        "crash between commit, judging and telling", "SIGKILL at six steps",
        "every alert of a quiet run, once", ("tests/faults/test_steps.py",),
    ),
    Row(
        "backlog of 3 h behind live", "three simulated meters",
        "no gap becomes final, all stored, live not delayed", ("tests/faults/test_backlog.py",),
    ),
    Row(
        "babble, ten times the rated load, 5,900 malformed connects",
        "simulated meters, random bytes",
        "others unharmed, nothing shed, memory flat", (LOAD,),
    ),
    Row(
        "the gateway's link to the broker",
        "a proxy: resets, black holes, 64 kbit/s, stalls as of 30 % loss, half-open",
        "under 2 tries a second, memory bounded, all stored once, nobody called silent",
        ("tests/faults/test_network.py",),
    ),
    Row(
        "fuzz", "atheris, 30 s for each parser", "0 uncaught", ("tests/faults/test_fuzz.py",),
    ),
    Row(
        "cloud cut, slowed, reset, failing for days", "a proxy before the local Firestore; kills",
        "documents equal the rollups, archive equals the readings, memory bounded",
        ("tests/acceptance/test_cloud_ordeal.py",),
    ),
    Row(
        "replays of real homes under kill -9", "10 SIGKILL of the daemon, 5 of mosquitto",
        "every row once, alerts of an undisturbed run",
        ("tests/acceptance/test_kills.py", "tests/acceptance/test_replay_real.py"),
    ),
    Row(
        "meters: power, outages, bundles cut off", "the firmware in MicroPython",
        "registers never fall, every reading once, the old model runs",
        ("tests/acceptance/test_meter_power.py", "tests/acceptance/test_meters_soak.py",
         "tests/acceptance/test_meters.py", "tests/acceptance/test_meter_bundles.py",
         "tests/firmware_esp32"),
    ),
    Row(
        "the installer interrupted", "20 SIGKILL of flash, provision, calibrate",
        "the next run completes; no calibration lost",
        ("tests/acceptance/test_installer_kills.py", "tests/acceptance/test_calibration.py"),
    ),
    Row(
        "docs/install.md followed", "each command typed at a terminal",
        "each does what it says", ("tests/acceptance/test_install_page.py",),
    ),
    Row(
        "an upgrade that fails", "a new version that does not become ready",
        "the old version and its database are back", ("tests/acceptance/test_upgrade.py",),
    ),
    Row(
        "the whole interface attacked", "schemathesis",
        "no 5xx, nothing undocumented", ("tests/acceptance/test_openapi.py",),
    ),
    Row(
        "the service under systemd", "systemd-nspawn",
        "starts, is restarted when hung, writes nowhere else", ("tests/systemd",),
    ),
)  # fmt: skip
