"""The npm package, built, packed and installed into an empty folder, used there against a running web process."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import CHANGES, install
from tests.processes import Daemon

pytestmark = pytest.mark.system

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "clients" / "typescript"
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1")


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the packed package Drizzle and a driver are installed, and nothing else."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    source, folder = tmp_path_factory.mktemp("package") / "source", tmp_path_factory.mktemp("application")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shutil.copy(PACKAGE.parent / "openapi.json", source.parent)
    install(npm, "ci", *QUIET, cwd=source)
    before = (source / "src" / "api.ts").read_text()
    install(npm, "run", "types", cwd=source)
    # Not equal? `npm run types` in clients/typescript writes it anew.
    assert (source / "src" / "api.ts").read_text() == before
    install(npm, "run", "build", cwd=source)
    install(npm, "pack", "--pack-destination", str(folder), cwd=source)
    (packed,) = folder.glob("*.tgz")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    install(npm, "install", *QUIET, str(packed), "drizzle-orm@0.45.4", "pg@8.23.1", cwd=folder)
    shutil.copy(HERE / "application.mjs", folder)
    return folder


def test_an_application_uses_the_npm_package(application: Path, web: Daemon, paying_user: str) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "STRIPE_SYNC_URL": f"http://127.0.0.1:{web.port}",
        "STRIPE_SYNC_TOKEN": "token",
        "DATABASE_URL": web.database_url,
        "USER_ID": paying_user,
    }
    command = ["node", "application.mjs"]

    done = subprocess.run(command, cwd=application, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "access": [True, "PREMIUM", 5000, False, "active"],
        "errors": [[True, 404, "not_found"], [True, 401, "unauthorized"], [True, 0, "unavailable"]],
        "changes": CHANGES,
        "granted": [[0, 5000]],
        "later": CHANGES[1:],
        "spent": [True, False, True],
        "balance": 4990,
        "features": [True, False, True],
        "change": [7, "tokens.granted", paying_user, 10],
        "refused": [True, True],
        "table": "tokens_expires_at",
    }
