"""The wheel shared by the release tests."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the installed build backend. Its source distribution has only the files that git tracks."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(target)], cwd=source, capture_output=True, check=True, timeout=120)
    (sdist,) = target.glob("*.tar.gz")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(target)]
    subprocess.run([*command, str(sdist)], check=True, timeout=120)
    (built,) = target.glob("*.whl")
    return built


def blocks_of_the_extra(extra: str) -> Iterator[str]:
    """The parts of requirements-dev.txt that this extra needs and requirements.txt lacks."""
    known = {
        name: block
        for block in re.split(r"^(?=\w)", (ROOT / "requirements-dev.txt").read_text(), flags=re.MULTILINE)
        for name in re.findall(r"^[\w.-]+(?===)", block)
    }
    seen = set(re.findall(r"^[\w.-]+(?===)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    waiting = [("stripe-sync", extra)]
    for distribution, wanted in waiting:
        for text in requires(distribution) or ():
            needed = Requirement(text)
            name = re.sub(r"[-_.]+", "-", needed.name).lower()
            if (needed.marker is None or needed.marker.evaluate({"extra": wanted})) and name not in seen:
                seen.add(name)
                waiting.append((name, ""))
                yield known[name]
