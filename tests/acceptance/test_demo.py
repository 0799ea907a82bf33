"""`wattwarden demo` as a visitor starts it: on a pipe, on a terminal, ended by Ctrl-C."""

import os
import pty
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.support.daemon import clean_environment, command

START_S = 20.0


def spawn(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*command(), "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env=clean_environment(home),
    )


def test_a_fault_raises_its_alert_and_without_one_there_is_none(short_path: Path) -> None:
    """Both side by side: readings of three meters flow, all are committed, status 0."""
    faulty = spawn(short_path, "--seconds", "30")
    quiet = spawn(short_path, "--seconds", "30", "--no-fault", "--seed", "2")
    outputs = []
    for process in (faulty, quiet):
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert err == ""
        outputs.append(out)
        counts = re.search(r"3 meters: (\d+) readings sent, (\d+) committed", out)
        assert counts is not None
        assert int(counts[1]) >= 70
        assert counts[1] == counts[2]
        for meter in ("flat", "family-house", "workshop"):
            assert re.search(rf"{meter} -?\d+ W \d\d\d\.\d V", out)
    told, silent = outputs
    announced = told.index("fault injected: at workshop the mains voltage rises to 1.20")
    alert = re.search(r"alert open: critical, workshop: Voltage .* the limit is 264\.5 V", told)
    assert alert is not None
    assert alert.start() > announced
    assert "alerts raised: 1\n" in told
    assert "alert" not in silent.replace("alerts raised: 0", "")
    assert "no fault injected" in silent
    assert list(short_path.glob("wattwarden-demo-*")) == []


def test_ctrl_c_ends_it_with_the_summary(short_path: Path) -> None:
    process = spawn(short_path)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if re.search(r"committed [1-9]", line):
            break
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - began < 10
    assert err == ""
    assert "readings sent" in out
    assert "alerts raised: 0" in out


def test_a_terminal_shows_a_live_picture(short_path: Path) -> None:
    """A table drawn again and again in place; the cursor comes back at the end."""
    leader, follower = pty.openpty()
    environment = {**clean_environment(short_path), "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*command(), "demo", "--seconds", "15"],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        cwd=short_path,
        env=environment,
    )
    os.close(follower)
    chunks: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(leader, chunks))
    reader.start()
    assert process.wait(timeout=60) == 0
    reader.join(timeout=10)
    os.close(leader)
    text = b"".join(chunks).decode()
    assert "Wattwarden demo 00:0" in text
    assert re.search(r"solar\s+[\d,]+ W", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    assert "No alerts." in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "readings sent" in text
    assert "Traceback" not in text


def _read_all(descriptor: int, chunks: list[bytes]) -> None:
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # the other side has closed
            return
        if not chunk:
            return
        chunks.append(chunk)


def test_wrong_options_are_refused_in_one_line(short_path: Path) -> None:
    process = spawn(short_path, "--seconds", "0")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--seconds" in err
    assert "Traceback" not in err
