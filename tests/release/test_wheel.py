"""The wheel has the right content, and works outside of the repository."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from tests.backends import Backend
from tests.release.conftest import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a separate folder, with the dependencies of this environment."""
    place = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), str(wheel)],
        check=True,
        timeout=120,
    )
    return place


def run(
    installed: Path, cwd: Path, *words: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "worker", *words],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_wheel_holds_the_program_without_development_files(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    for needed in (
        "worker/py.typed",
        "worker/dev/supervisor.py",
        "schema/py.typed",
        "migrations/versions/0001_first_release.py",
        "migrations/sql/0001/up/1_public.sql",
        "migrations/sql/0001/down.sql",
        "worker/web/console/static/htmx.min.js",
        "worker/web/console/templates/base.html",
    ):
        assert needed in names
    assert [name for name in names if name.startswith(("sandbox", "tests", "benchmarks"))] == []
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_command_prints_its_version(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "--version")

    assert done.stdout == f"stripe-sync {VERSION}\n", done.stderr


def test_a_database_is_migrated_from_the_wheel(
    installed: Path, tmp_path: Path, empty_database: str, backend: Backend
) -> None:
    env = {"DATABASE_URL": empty_database, "REDIS_URL": backend.redis_url, "APP_ENV": "test"}

    before = run(installed, tmp_path, "db", "migrate", "--check", env=env)
    migrated = run(installed, tmp_path, "db", "migrate", "--yes", env=env)
    after = run(installed, tmp_path, "db", "migrate", "--check", "--wait", "5", env=env)

    assert before.returncode == 1
    assert "run `stripe-sync db migrate`" in before.stderr
    assert migrated.returncode == 0, migrated.stderr
    assert after.returncode == 0, after.stderr
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("select count(*) from sync.events").fetchone() == (0,)


def test_another_distribution_with_our_names_is_refused(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "__init__.py").write_text("")
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{installed}"}

    done = run(installed, tmp_path, "--version", env=env)

    assert done.returncode == 1
    assert "the package `schema` is found in" in done.stderr


def test_another_distribution_installed_over_ours_is_refused(installed: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    shutil.copytree(installed, place)
    (place / "schema" / "__init__.py").write_text('"""A library that validates data."""\n')

    done = run(place, tmp_path, "--version")

    assert done.returncode == 1
    assert f"the package `schema` in {place} is no longer the one that was installed with stripe-sync" in done.stderr


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("stripe-sync sta", "status"), ("stripe-sync db restore --wal", "--wal-from"), ("stripe-sync sync o", "object")],
)
def test_bash_completes_commands_and_options(installed: Path, tmp_path: Path, typed: str, completed: str) -> None:
    # Bash calls the function in this way when someone types a word and then the tab key.
    script = f"""
        eval "$(stripe-sync --show-completion)"
        COMP_WORDS=({typed}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _stripe_sync_completion stripe-sync
        echo "${{COMPREPLY[*]}}"
    """
    path = f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}

    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.split() == [completed], done.stderr
