"""`stripe-sync dev` with real processes."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker.dev import supervisor
from worker.dev.servers import free_port

_ROOT = Path(__file__).parent.parent.parent


def descendants(pid: int) -> list[int]:
    """All descendants of the process."""
    lists = [task.read_text().split() for task in Path("/proc").glob(f"{pid}/task/*/children")]
    children = [int(child) for each in lists for child in each]
    return children + [each for child in children for each in descendants(child)]


@pytest.mark.skipif(sys.platform != "linux", reason="waits for processes by their file descriptors")
def test_kill_9_of_dev_leaves_no_process_behind(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    dev = subprocess.Popen(
        [sys.executable, "-m", "worker", "dev", "--home", str(tmp_path), "--port", str(free_port())],
        cwd=_ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    with dev:
        assert dev.stdout is not None
        lines = []
        for line in dev.stdout:
            lines.append(line)
            if "Everything is running" in line:
                break
        else:
            pytest.fail("".join(lines))
        watched = {pid: os.pidfd_open(pid) for pid in descendants(dev.pid)}
        commands = "\n".join(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in watched)
        dev.send_signal(signal.SIGKILL)

    for name in ("web", "worker", "beat", "sandbox", "postgres", "valkey-server"):
        assert name in commands
    left = [pid for pid, process in watched.items() if not select.select([process], [], [], 15)[0]]
    assert left == []
    assert list(tmp_path.glob("supervisor-*")) == []


def test_each_folder_has_its_own_preferred_ports(tmp_path: Path) -> None:
    ports = [port for name in "abc" for port in supervisor.preferred_ports(tmp_path / name)]

    assert len(set(ports)) == 9
    assert supervisor.preferred_ports(tmp_path / "a") == tuple(ports[:3])
