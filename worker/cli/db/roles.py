"""`stripe-sync db roles`: print the SQL that creates the roles of owner, worker, application and reader."""

import sys

import schema.rls
import schema.roles
from schema import VIEWS_SCHEMA
from worker.cli.output import fail
from worker.config import settings
from worker.postgres.pool import session_settings


def run(*, owner: str, worker: str, application: str, reader: str | None) -> None:
    """Print the SQL for roles of least privilege. Run it in psql as a role that may create roles; it is safe to repeat."""
    _check(owner, worker, application, reader)
    loaded = settings.load()
    lines = session_settings(loaded)
    shown = loaded.stripe_schema or VIEWS_SCHEMA
    sys.stdout.write(
        schema.roles.statements(
            owner=owner, worker=worker, application=application, reader=reader, settings=lines, views_schema=shown
        )
    )


def row_level_security(*, worker: str, application: str, reader: str | None, user: str, anonymous: str) -> None:
    """Print the SQL for row-level security. Run it in psql as the owner of the tables; it is safe to repeat."""
    _check(worker, application, reader, user, anonymous)
    sys.stdout.write(
        schema.rls.statements(worker=worker, application=application, reader=reader, user=user, anonymous=anonymous)
    )


def _check(*roles: str | None) -> None:
    named = [name for name in roles if name is not None]
    if "" in named or len(set(named)) < len(named):
        fail(f"{len(named)} different roles are needed: {', '.join(named)}")
