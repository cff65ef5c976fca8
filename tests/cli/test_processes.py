"""The imports of the long-running processes. An idle process needs most of its memory for its imports."""

import subprocess
import sys

import pytest

SETTINGS = {"DATABASE_URL": "postgresql:///x", "REDIS_URL": "redis://127.0.0.1:1/0", "APP_ENV": "test"}


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        (
            # Celery imports the last two by the names in its configuration.
            "from worker.jobs import beat, broker, lanes",
            {"pydantic", "psycopg", "sqlalchemy", "alembic", "stripe", "starlette", "granian", "typer", "rich"},
        ),
        (
            "from worker.web import server; import granian",
            {"pydantic", "psycopg", "structlog", "sqlalchemy", "stripe", "starlette", "celery", "typer"},
        ),
        ("from worker.web import app", {"alembic", "sqlalchemy", "jinja2", "rich"}),
        ("from worker.jobs import process_group", {"alembic", "sqlalchemy", "stripe", "starlette", "granian", "rich"}),
    ],
    ids=["beat", "the main process of web", "web", "worker"],
)
def test_a_process_imports_no_library_that_it_does_not_use(program: str, absent: set[str]) -> None:
    asked = f"{program}\nimport sys\nprint(*sorted(set(sys.modules) & {absent!r}))"

    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=SETTINGS, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
