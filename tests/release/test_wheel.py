"""The wheel: its content, and that it works outside of the repository."""

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from tests.backends import Backend
from worker.dev.servers import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, and that from what git tracks, with the build backend that is installed."""
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


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a separate folder; the dependencies are this environment's."""
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


def test_the_wheel_holds_what_runs_and_nothing_for_development(wheel: Path) -> None:
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


def test_the_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "--version")

    assert done.stdout == "stripe-sync 0.1.0\n", done.stderr


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


@pytest.mark.system
def test_dev_from_the_wheel_shows_a_first_row_in_an_empty_home(installed: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [
        sys.executable,
        "-P",
        "-m",
        "worker",
        "dev",
        "--port",
        str(free_port()),
        "--home",
        str(tmp_path / "state"),
    ]
    tmp_path.chmod(0o755)
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as dev:
        assert dev.stdout is not None
        lines = []
        for line in dev.stdout:
            lines.append(line)
            if "Everything runs" in line:
                break
        dev.send_signal(signal.SIGINT)
        rest = dev.stdout.read()

    assert "id=cus_demo  name=Demo User  email=demo@example.com  user_id=demo" in "".join(lines), "".join(lines) + rest
