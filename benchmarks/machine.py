"""Describe the machine, and measure the CPU and memory of a process and its children. Reads /proc, so Linux only."""

import os
import platform
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1024 * 1024


def facts() -> dict[str, object]:
    """Cores, memory, system and Python, for the head of a report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_mib": memory,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    members = [pid]
    for member in members:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members.extend(map(int, task.read_text().split()))
            except OSError:
                continue
    return members


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, including those that have ended and were waited for."""
    return sum(_cpu_seconds(member) for member in tree(pid))


def resident_bytes(pid: int) -> dict[int, int]:
    """The resident memory of the process and of each descendant, by process id. A shared page counts in every process."""
    sizes = {}
    for member in tree(pid):
        try:
            pages = int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except OSError:
            continue
        sizes[member] = pages * os.sysconf("SC_PAGE_SIZE")
    return sizes


def proportional_bytes(pid: int) -> int:
    """The memory of a process and its descendants. A page that n processes share counts as 1/n for each process (PSS)."""
    sizes = (Path(f"/proc/{member}/smaps_rollup").read_text() for member in tree(pid))
    return sum(1024 * int(text.split("\nPss:")[1].split()[0]) for text in sizes)


class Cpu:
    """CPU time since this object was made, by the name of the process: `{"web": pid}` gives `{"web": seconds}`."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = self._now()

    def spent(self) -> dict[str, float]:
        """The CPU seconds of each process since this object was made, and of this process as `client`."""
        return {name: now - self._before[name] for name, now in self._now().items()}

    def _now(self) -> dict[str, float]:
        own = os.times()
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()} | {"client": own.user + own.system}


def _cpu_seconds(pid: int) -> float:
    try:
        # The fields after the command's name, which is in brackets and may contain any character.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
