"""The installed package has everything for production. A command that needs a checkout reports this."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from setuptools import find_namespace_packages  # type: ignore[import-untyped] # it carries no types

ROOT = Path(__file__).parent.parent.parent


def packages() -> set[str]:
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    return set(find_namespace_packages(str(ROOT), include=chosen["include"], exclude=chosen.get("exclude", [])))


def test_the_package_has_no_sandbox() -> None:
    assert {"worker", "worker.cli.db", "worker.web", "worker.dev", "schema", "migrations.versions"} <= packages()
    assert {name for name in packages() if name.startswith(("sandbox", "tests", "benchmarks"))} == set()


def test_the_sandbox_says_that_it_needs_a_checkout(tmp_path: Path) -> None:
    for name in packages():
        folder = tmp_path / name.replace(".", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for file in (ROOT / name.replace(".", "/")).glob("*.py"):
            shutil.copy(file, folder)

    done = subprocess.run(
        [sys.executable, "-m", "worker", "sandbox", "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "`stripe-sync sandbox` needs the sandbox, which is not part of the installed package" in done.stderr
    assert "pip install -e '.[dev]'" in done.stderr
