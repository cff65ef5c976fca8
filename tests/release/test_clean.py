"""On a clean machine, with an empty HOME and only Python on the PATH, the release is installed, run and removed."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from tests.dev.test_supervisor import descendants
from tests.release.conftest import ROOT, blocks_of_the_extra
from worker.dev.servers import free_port

pytestmark = pytest.mark.system

# Of this machine's environment variables, keep only those that configure pip.
PIP = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


class Machine:
    """A folder with a HOME, a PATH with only Python, and an environment for the release."""

    def __init__(self, root: Path) -> None:
        self.home, self.place, programs = root / "home", root / "stripe-sync", root / "bin"
        for folder in (self.home, programs):
            folder.mkdir()
        (programs / "python3").symlink_to(Path(sys.executable).resolve())
        self.env = {"HOME": str(self.home), "PATH": str(programs), "PYTHONUNBUFFERED": "1"}
        self.run("python3", "-m", "venv", str(self.place))

    def run(self, *words: str) -> str:
        done = subprocess.run(
            words, cwd=self.home, env=PIP | self.env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pip(self, *words: str) -> str:
        return self.run(str(self.place / "bin" / "python"), "-m", "pip", "--no-cache-dir", *words)

    def files(self) -> set[str]:
        """All installed files, without Python's caches."""
        return {str(path) for path in self.place.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Download the locked distributions of the daemon and its extra `dev`. Return the folder, which has their list too."""
    folder = tmp_path_factory.mktemp("locked")
    lock = folder / "lock.txt"
    lock.write_text((ROOT / "requirements.txt").read_text() + "".join(blocks_of_the_extra("dev")))
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--require-hashes", "--no-deps", "-r", lock, "-d", folder],
        check=True,
        timeout=300,
    )
    return folder


def test_a_clean_machine_gets_its_first_row_and_keeps_no_files(wheel: Path, downloaded: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # Postgres runs under another account than root
    machine = Machine(tmp_path)
    before = machine.files()
    released = tmp_path / "released.txt"
    hashed = f"{wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    released.write_text((downloaded / "lock.txt").read_text() + f"stripe-sync @ {hashed}")

    began = time.monotonic()
    machine.pip("install", "-q", "--no-index", "--find-links", str(downloaded), "--require-hashes", "-r", str(released))
    installed_after = time.monotonic() - began
    shown, page, seen_at = _first_row(machine, tmp_path / "state")
    print(f"installed after {installed_after:.1f} s, the first row is shown after {seen_at - began:.1f} s")
    installed = [line.partition("==")[0] for line in machine.pip("list", "--format", "freeze").splitlines()]
    machine.pip("uninstall", "-q", "-y", *(name for name in installed if name not in ("pip", "setuptools")))

    assert "id=cus_demo  name=Demo User  email=demo@example.com  user_id=demo" in shown
    assert "<h1>demo@example.com</h1>" in page
    assert machine.files() == before
    assert list(machine.home.iterdir()) == []


def _first_row(machine: Machine, state: Path) -> tuple[str, str, float]:
    """Run `stripe-sync dev` until everything is up, and stop it.

    Returns its output, the page behind its link, and the time of the monotonic clock at which it had shown the first row.
    """
    command = [str(machine.place / "bin" / "stripe-sync"), "dev", "--port", str(free_port()), "--home", str(state)]
    with subprocess.Popen(
        command, cwd=machine.home, env=machine.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as dev:
        assert dev.stdout is not None
        lines, seen_at = [], 0.0
        for line in dev.stdout:
            lines.append(line)
            if "id=cus_demo" in line:
                seen_at = time.monotonic()
            if "  webhook secret" in line:
                break
        links = re.findall(r"http://\S+/console/sign-in\S+", "".join(lines))
        browser = build_opener(HTTPCookieProcessor())
        page = browser.open(links[0], timeout=30).read().decode() if links else ""
        started = descendants(dev.pid)
        dev.send_signal(signal.SIGINT)
        lines.append(dev.stdout.read())
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    return "".join(lines), page, seen_at
