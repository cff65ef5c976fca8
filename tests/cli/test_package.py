"""The installed package holds what production needs, and commands for development say where to run them."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_namespace_packages  # type: ignore[import-untyped] # it carries no types

ROOT = Path(__file__).parent.parent.parent


def packages() -> set[str]:
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    return set(find_namespace_packages(str(ROOT), include=chosen["include"], exclude=chosen["exclude"]))


def test_the_package_has_no_sandbox_and_no_embedded_servers() -> None:
    assert {"worker", "worker.cli.db", "worker.web", "schema", "migrations.versions"} <= packages()
    assert {name for name in packages() if name.startswith(("sandbox", "worker.dev", "tests", "benchmarks"))} == set()


@pytest.mark.parametrize(
    ("words", "command"), [(["dev"], "dev"), (["sandbox", "--port", "0"], "sandbox")], ids=["dev", "sandbox"]
)
def test_a_command_for_development_says_that_it_needs_a_checkout(
    tmp_path: Path, words: list[str], command: str
) -> None:
    for name in packages():
        folder = tmp_path / name.replace(".", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for file in (ROOT / name.replace(".", "/")).glob("*.py"):
            shutil.copy(file, folder)

    done = subprocess.run(
        [sys.executable, "-m", "worker", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert f"`stripe-sync {command}` needs the sandbox, which is not part of the installed package" in done.stderr
    assert "pip install -e '.[dev]'" in done.stderr
