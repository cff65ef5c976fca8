"""A real Auth.js application on the migrated tables. It uses the Drizzle adapter and our generated definitions.

This test downloads locked packages through npm. It is skipped only without node or npm, or if the registry cannot be
reached. Any other problem is a failure.
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import schema.tables
from worker.cli.db import drizzle

pytestmark = pytest.mark.system

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
# The oldest Node that understands the syntax of the compiled program and of its packages.
OLDEST_NODE = 20
# npm's error codes for a registry that does not answer, as opposed to a refusal.
UNREACHABLE = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED)\b"
)


@pytest.fixture(scope="module")
def npm() -> str:
    """The installed npm, with a recent enough Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node {version} is older than {OLDEST_NODE}")
    return npm


@pytest.fixture(scope="module")
def modules(npm: str) -> Path:
    """Install the locked packages, or reuse them from an earlier run."""
    stamp = MODULES / ".stamp"
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--prefer-offline", "--fetch-retries=1"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0 and (unreachable := UNREACHABLE.search(done.stderr)):
            pytest.skip(f"npm's registry can't be reached: {unreachable[0]}")
        assert done.returncode == 0, done.stderr
        stamp.write_text(wanted)
    return MODULES


@pytest.fixture(scope="module")
def application(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application, compiled with freshly generated definitions."""
    folder = tmp_path_factory.mktemp("authjs")
    for name in ("package.json", "tsconfig.json", "application.ts"):
        shutil.copy(HERE / name, folder)
    (folder / "tables.ts").write_text(drizzle.render(schema.tables.Base))
    (folder / "node_modules").symlink_to(modules)
    compiled = subprocess.run(
        ["node", str(modules / "typescript/bin/tsc"), "--project", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stdout
    return folder / "built" / "application.js"


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (HERE / "package-lock.json").read_text()


def test_auth_js_keeps_users_accounts_sessions_and_tokens_in_our_tables(application: Path, database: str) -> None:
    done = subprocess.run(
        ["node", str(application)],
        env=os.environ | {"DATABASE_URL": database},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "all of it works\n"), done.stderr
