"""The wheel brings the built app along: a fresh installation serves it, without Node.js."""

import os
import re
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import httpx
import pytest

from gateway.web.static import app_directory
from tests.support.daemon import clean_environment
from tests.support.ports import free_port

START_S = 60.0
INSIDE = "gateway/web/static/app/"


def test_every_file_of_the_build_is_in_the_wheel(wheel: Path) -> None:
    built = app_directory()
    if built is None:
        pytest.skip("the app has not been built (make dashboard)")
    made = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        page = packed.read(f"{INSIDE}index.html")
    inside = {name.removeprefix(INSIDE) for name in names if name.startswith(INSIDE)}
    assert inside == {name for name in made if not name.startswith(".")}
    assert page == (built / "index.html").read_bytes()
    assert not [name for name in names if name.startswith("dashboard/")]


@pytest.mark.soak
def test_a_fresh_installation_serves_the_app(wheel: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    python = fresh / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    # What others wrote comes from this environment; a line of a .pth brings no gateway of ours.
    (packages,) = (fresh / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    config, port = tmp_path / "config.toml", free_port()
    config.write_text(
        f'[storage]\npath = "{tmp_path}/w.db"\n[web]\nport = {port}\n'
        "[mqtt]\nembedded = false\nport = 1\n"
    )
    environment = {**clean_environment(tmp_path), "PATH": os.defpath}
    log = (tmp_path / "log").open("wb")
    running = subprocess.Popen(
        [str(fresh / "bin" / "wattwarden"), "run", "--config", str(config)],
        cwd=tmp_path, env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        page = _page(f"http://127.0.0.1:{port}", running, tmp_path / "log")
        script = re.search(r'src="(/assets/[^"]+\.js)"', page)
        assert script is not None, page
        answer = httpx.get(f"http://127.0.0.1:{port}{script[1]}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    finally:
        running.terminate()
        running.wait(timeout=10)
        log.close()
    where = "import gateway.web.static as s; print(s.app_directory())"
    said = subprocess.run(
        [str(python), "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(said.stdout.strip()).is_relative_to(fresh)


def _page(url: str, running: "subprocess.Popen[bytes]", log: Path) -> str:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert running.poll() is None, log.read_text()[-2000:]
        try:
            answer = httpx.get(url, headers={"Accept": "text/html"}, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        assert answer.status_code == 200, answer.text
        return answer.text
    pytest.fail(f"nothing answers: {log.read_text()[-2000:]}")
