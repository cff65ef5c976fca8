"""Run a command that ends when the supervisor ends, for any reason: `python tether.py LOCK COMMAND...`.

The supervisor holds a lock on a file. The kernel releases the lock when the supervisor ends, even by kill -9, and forked
processes do not inherit it. This program waits for the lock, and then ends its own process group. It works on Linux and
macOS, with any command.

`python tether.py LOCK --signal NUMBER PID` signals a process instead. It is for servers on systems other than Linux.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def held(home: Path) -> Iterator[str]:
    """The path of a new lock file, locked by this process. Each supervisor has its own lock file."""
    with tempfile.NamedTemporaryFile(dir=home, prefix="supervisor-") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield lock.name


def command(lock: str, *words: str) -> list[str]:
    """The command line that runs these words tethered. Start it as the leader of its own process group."""
    return [sys.executable, "-IS", __file__, lock, *words]


def main(lock: str, *words: str) -> int:
    """Run the words as a command; returns its exit code."""
    if words[0] == "--signal":
        _wait(lock)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(words[2]), int(words[1]))
        return 0
    # Signals reach the whole group. The command reacts to them, and this process waits for it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    process = subprocess.Popen(words)
    threading.Thread(target=_end_with, args=[lock], daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end_with(lock: str) -> None:
    _wait(lock)
    os.killpg(0, signal.SIGKILL)


def _wait(lock: str) -> None:
    """Wait until no process holds the lock, and remove the file of a killed supervisor."""
    with contextlib.suppress(FileNotFoundError):
        with open(lock, "r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
        os.unlink(lock)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
