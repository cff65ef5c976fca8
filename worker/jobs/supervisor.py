"""The process that starts a worker's lanes, restarts lanes that end by themselves, and stops all lanes on a signal."""

import ctypes
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.config.backoff import Backoff
from worker.jobs.lanes import Lane
from worker.observe import log

_log = log.get("worker")

_PR_SET_PDEATHSIG = 1
RESTARTS = Backoff(first=1, longest=30)
# A lane that ran for this long counts as healthy, so that its next pause is the shortest again.
STABLE_SECONDS = 60


@dataclass(slots=True)
class _Place:
    """A lane. While it runs, `pid` is its process. Otherwise `start_at` is when to start it, on the monotonic clock."""

    lane: Lane
    pid: int | None = None
    start_at: float = 0.0
    started_at: float = 0.0
    ended: int = 0


def run(lanes: Sequence[Lane], serve: Callable[[Lane], int]) -> int:
    """Fork a process for each lane, which calls `serve`, and wait for SIGTERM, SIGINT or SIGQUIT. Returns the exit code.

    The exit code is the highest among the lanes that were stopped. If a lane ends by itself, it is restarted after a pause
    of RESTARTS.
    """
    places = [_Place(lane) for lane in lanes]
    stopping, code = False, 0
    with _Signals(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT) as signals:
        while True:
            for place in places:
                if place.pid is None and not stopping and place.start_at <= time.monotonic():
                    place.started_at = time.monotonic()
                    place.pid = _fork(place.lane, serve, signals)
            waiting = [place.start_at - time.monotonic() for place in places if place.pid is None]
            for number in signals.wait(timeout=max(0.0, min(waiting)) if waiting and not stopping else None):
                if number != signal.SIGCHLD:
                    stopping = True
                    _forward(places, signal.SIGQUIT if number == signal.SIGQUIT else signal.SIGTERM)
            for place, ended in _reap(places):
                if stopping:
                    # A lane that has just started has no handler yet, so SIGTERM ends it. This counts as a clean stop.
                    code = max(code, 0 if ended == 128 + signal.SIGTERM else ended)
                else:
                    lived = time.monotonic() - place.started_at
                    place.ended = 1 if lived > STABLE_SECONDS else place.ended + 1
                    pause = RESTARTS.pause(place.ended)
                    _log.error("lane.ended", lane=place.lane.name, code=ended, restart_in_seconds=pause)
                    place.start_at = time.monotonic() + pause
            if stopping and all(place.pid is None for place in places):
                return code


def die_with_parent() -> None:
    """End this process when its parent ends, even by SIGKILL. Works on Linux only; elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


class _Signals:
    """Signals that end a wait. A signal is remembered until the next wait, so none is missed."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = (*numbers, signal.SIGCHLD)

    def __enter__(self) -> "_Signals":
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._wake.close()
        self._woken.close()

    def wait(self, *, timeout: float | None) -> bytes:
        """Wait for a signal, at most `timeout` seconds. Returns the numbers of the received signals."""
        select.select([self._woken], [], [], timeout)
        try:
            return self._woken.recv(4096)
        except BlockingIOError:
            return b""


def _fork(lane: Lane, serve: Callable[[Lane], int], signals: _Signals) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signals.__exit__()
        die_with_parent()
        if os.getppid() == parent:
            code = serve(lane)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the callers' frames belong to the supervisor, so no exception may reach them
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _forward(places: Sequence[_Place], number: signal.Signals) -> None:
    for place in places:
        if place.pid is not None:
            os.kill(place.pid, number)


def _reap(places: Sequence[_Place]) -> list[tuple[_Place, int]]:
    """The lanes whose process has ended, with the exit code. If a signal killed it, the code is 128 + the signal's number."""
    ended = []
    for place in places:
        if place.pid is not None:
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                place.pid = None
                code = os.waitstatus_to_exitcode(status)
                ended.append((place, code if code >= 0 else 128 - code))
    return ended
