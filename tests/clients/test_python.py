"""The built Python client in an empty environment, beside an application whose modules have the daemon's names."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import CHANGES
from tests.processes import Daemon

pytestmark = pytest.mark.system

HERE = Path(__file__).parent


def test_an_application_uses_the_package_beside_its_own_modules(python: str, web: Daemon, paying_user: str) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "STRIPE_SYNC_URL": f"http://127.0.0.1:{web.port}",
        "STRIPE_SYNC_TOKEN": "token",
        "DATABASE_URL": web.database_url.replace("postgresql://", "postgresql+psycopg://", 1),
        "USER_ID": paying_user,
    }

    done = subprocess.run(
        [python, "application.py"],
        cwd=HERE / "an-application",
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "modules": ["the application's schema", "the application's worker"],
        "before": True,
        "after": True,
        "role": "PREMIUM",
        "tokens": 5000,
        "status": "active",
        "errors": [
            ["NotFound", 404, "not_found"],
            ["Unauthorized", 401, "unauthorized"],
            ["Unavailable", 0, "unavailable"],
        ],
        "stale": False,
        "synced": True,
        "spent": [True, False],
        "balance": 4990,
        "product": "Pro",
        "features": [True, False],
        "changes": CHANGES,
        "later": CHANGES[1:],
        "aspent": [True, True, False],
        "afeatures": [True, False],
        "abalance": 4900,
        "change": [7, "tokens.granted", paying_user, 10],
        "forged": "refused",
    }
