"""The imports of the long-running processes, which are most of their memory at rest."""

import subprocess
import sys

import pytest

SETTINGS = {"DATABASE_URL": "postgresql:///x", "REDIS_URL": "redis://127.0.0.1:1/0", "APP_ENV": "test"}


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        (
            "from worker.config import settings; from worker.jobs import celery_app; from worker.postgres import "
            "schema_state, pool; celery_app.make(settings.load())",
            {"sqlalchemy", "alembic", "stripe", "starlette", "granian"},
        ),
        (
            "from worker.web import server; import granian",
            {"pydantic", "psycopg", "structlog", "sqlalchemy", "stripe", "starlette", "celery", "typer"},
        ),
        ("from worker.web import app", {"alembic", "sqlalchemy", "jinja2"}),
        ("from worker.jobs import tasks", {"alembic", "sqlalchemy", "stripe", "starlette", "granian"}),
    ],
    ids=["beat", "the main process of web", "web", "worker"],
)
def test_a_process_imports_no_library_that_it_does_not_use(program: str, absent: set[str]) -> None:
    asked = f"{program}\nimport sys\nprint(*sorted(set(sys.modules) & {absent!r}))"

    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=SETTINGS, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
