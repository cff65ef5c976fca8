"""`./run bench --compare REV`: run another revision and this tree in turn, and print the ratio of each figure.

The benchmarks of this tree measure both; in the other revision they replace its own benchmarks. Each round runs each
revision once, and the order changes from round to round, so that other load on the machine affects both. The ratio of each
figure is computed within a round.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCK = "requirements-dev.txt"
# These name a row of a table, and are not figures.
_NAMES = ("concurrency", "per_second", "linked_users", "updated")
_LEFT_OUT = ("facts", "total_seconds")

Figures = dict[str, float]


def measure(revision: str, words: Sequence[str], *, rounds: int) -> dict[str, Any]:
    """Run the benchmarks with these arguments `rounds` times on each revision. Returns for each figure the medians, and the
    ratio with its spread."""
    with tempfile.TemporaryDirectory(prefix="stripe-sync-compare-") as folder:
        other = Path(folder) / "other"
        _lay_out(revision, other)
        runs: dict[Path, list[Figures]] = {other: [], ROOT: []}
        for number in range(rounds):
            for tree in (other, ROOT) if number % 2 == 0 else (ROOT, other):
                runs[tree].append(_run(tree, words, Path(folder) / "figures.json"))
    pairs = list(zip(runs[other], runs[ROOT], strict=True))
    shared = [name for name in pairs[0][0] if all(name in each for pair in pairs for each in pair)]
    return {"revision": revision, "rounds": rounds, "figures": {name: _compared(name, pairs) for name in shared}}


def _compared(name: str, pairs: Sequence[tuple[Figures, Figures]]) -> Figures:
    ratios = [now[name] / before[name] for before, now in pairs if before[name]]
    return {
        "before": statistics.median(before[name] for before, _ in pairs),
        "now": statistics.median(now[name] for _, now in pairs),
        "ratio": statistics.median(ratios) if ratios else float("nan"),
        "least": min(ratios, default=float("nan")),
        "most": max(ratios, default=float("nan")),
    }


def _lay_out(revision: str, folder: Path) -> None:
    """The files of the revision, with our benchmarks."""
    folder.mkdir()
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision], check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    shutil.rmtree(folder / "benchmarks", ignore_errors=True)
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")


def _run(tree: Path, words: Sequence[str], figures: Path) -> Figures:
    """Run the benchmarks once in that tree. If it pins the same packages, our environment is used, otherwise its own."""
    same = (tree / LOCK).read_bytes() == (ROOT / LOCK).read_bytes()
    command = [sys.executable, "-m", "benchmarks"] if same else ["./run", "bench"]
    subprocess.run([*command, *words, "--json", figures], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    result = json.loads(figures.read_text())
    return dict(_flat({name: value for name, value in result.items() if name not in _LEFT_OUT}, ()))


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Every number in the result. Its key is the path of names that leads to it."""
    if isinstance(value, Mapping):
        names = [name if value[name] is True else f"{name}={value[name]}" for name in _NAMES if value.get(name)]
        for name, member in value.items():
            if name not in _NAMES:
                yield from _flat(member, (*path, *names, name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _flat(member, path if isinstance(member, Mapping) else (*path, str(number)))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield " ".join(path), float(value)
