"""The examples in docs/examples, used by a visitor who signs up, buys, and then uses the purchase."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import sandboxes
from tests.clients.conftest import EXAMPLES
from tests.processes import Daemon
from tests.sandboxes import Sandbox

pytestmark = pytest.mark.system

HERE = Path(__file__).parent


def environment(web: Daemon, stripe_sandbox: Sandbox, price: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "STRIPE_SYNC_URL": f"http://127.0.0.1:{web.port}",
        "STRIPE_SYNC_TOKEN": "token",
        "STRIPE_API_BASE": stripe_sandbox.address,
        "STRIPE_SECRET_KEY": sandboxes.KEY,
        "PRICE_ID": price,
        "DATABASE_URL": web.database_url,
    }


def used(command: list[str], folder: Path, env: dict[str, str]) -> Any:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_version_that_an_example_installs_is_exact() -> None:
    named = [
        line
        for file in EXAMPLES.glob("*/requirements.txt")
        for line in file.read_text().splitlines()
        if "==" not in line
    ]
    packages = json.loads((EXAMPLES / "nextjs" / "package.json").read_text())
    versions = (packages["dependencies"] | packages["devDependencies"]).items()
    assert named + [f"{name}@{version}" for name, version in versions if not version[0].isdigit()] == []


@pytest.mark.parametrize("name", ["fastapi", "django"])
def test_an_example_in_python(name: str, python: str, web: Daemon, stripe_sandbox: Sandbox, price: str) -> None:
    folder = EXAMPLES / name
    env = environment(web, stripe_sandbox, price) | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    if name == "fastapi":
        env["DATABASE_URL"] = env["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
    with psycopg.connect(web.database_url, autocommit=True) as conn:
        conn.execute("drop table if exists handled_changes")

        seen = used([python, str(HERE / "buyer.py"), name], folder, env)

        user = seen.pop("user")
        handled = conn.execute("select id, message from handled_changes").fetchall()
        conn.execute("drop table handled_changes")
        rows = conn.execute("select role::text, tokens from users where id = %s", (user,)).fetchall()
    assert seen == {
        "stranger": [401, 401],
        "twice": 409,
        "before": [402, 403, 402],
        "checkout": [303, "/premium"],
        "after": [{"welcome": f"{name}@example.com"}, {"csv": "id,email"}, {"left": 4990}],
        "too_much": 402,
        "changes": [204, 204, 400],
    }
    assert handled == [(7, "Welcome")]
    assert rows == [("PREMIUM", 4990)]
