"""`stripe-sync db migrate` and `rollback`: run revisions. If a revision fails, print the fix."""

import sys
import time
from collections.abc import Callable, Sequence

import psycopg
from alembic.script import Script
from sqlalchemy.exc import DBAPIError

import migrations
from worker.cli.db import adopt, target
from worker.cli.output import fail, say
from worker.config import settings as config
from worker.config.settings import Settings
from worker.postgres import inventory, schema_state
from worker.postgres.pool import UNAVAILABLE, connect, owner_conninfo

WAIT_PAUSE_SECONDS = 1


def up(to: str, *, sql: bool, yes: bool) -> None:
    """Migrate the database to the revision `to`. Two migrations at once do no harm."""
    settings = config.load()
    with target.owner(settings) as conn:
        before = target.known_revision(conn)
        pending = _above(before, to)
        if sql:
            shown = settings.stripe_schema or inventory.views_schema(conn)
            migrations.offline_sql(f"{before or 'base'}:{to}", output=sys.stdout, views_schema=shown)
            return
        target.announce(settings, conn)
        adopt.refuse_unadopted(settings, conn)
        wanted, now = settings.stripe_schema, inventory.views_schema(conn)
        if not pending and now is not None and wanted not in (None, now):
            _move(settings, conn, lambda url: migrations.migrate(url, to, views_schema=wanted), [])
            say(f"The schema {now} of the views is called {wanted} from now on.")
            return
        if not pending:
            say(f"The database is at {before} already: nothing to do.")
            return
        say(f"From {before or 'nothing'}, {len(pending)} to run:")
        target.list_revisions(pending)
        _refuse_invalid_indexes(conn)
        target.confirm(settings, "Migrate it?", yes=yes)
        if before is None and not settings.membership:
            adopt.set_up_mirror_alone(settings)
        else:
            _move(settings, conn, lambda url: migrations.migrate(url, to, views_schema=wanted), pending)
        say(f"The database ({settings.app_env}) is at {inventory.revision(conn)}, from {before or 'nothing'}.")


def check(*, wait_seconds: float) -> None:
    """Raise SchemaNotReady unless the database is at the newest revision.

    Waits up to this many seconds for Postgres and for the migration.
    """
    settings, deadline = config.load(), time.monotonic() + wait_seconds
    while True:
        try:
            with connect(settings, application="migrate check") as conn:
                schema_state.require(conn)
            say("The database is at the newest revision.")
            return
        except (schema_state.SchemaNotReady, *UNAVAILABLE):
            if time.monotonic() + WAIT_PAUSE_SECONDS > deadline:
                raise
        time.sleep(WAIT_PAUSE_SECONDS)


def down(to: str | None, *, steps: int | None, yes: bool) -> None:
    """Undo one or more revisions. The tables and columns they added are dropped, with their data."""
    if to is not None and steps is not None:
        fail("use --to or --steps, not both")
    settings = config.load()
    with target.owner(settings) as conn:
        before = target.known_revision(conn)
        undone = _undone(before, to, steps or 1)
        target.announce(settings, conn)
        if not undone:
            say(f"The database is at {before or 'nothing'}: nothing to do.")
            return
        say(f"From {before}, {len(undone)} to undo. Everything they added is dropped, with its data:")
        target.list_revisions(undone)
        target.confirm(settings, "Undo it?", yes=yes)
        lowest = undone[-1].down_revision or "base"
        _move(settings, conn, lambda url: migrations.downgrade(url, str(lowest)), undone)
        say(f"The database ({settings.app_env}) is at {inventory.revision(conn) or 'nothing'}, from {before}.")


def _above(before: str | None, to: str) -> list[Script]:
    """The revisions after the database's revision, up to `to`, in the order they run."""
    line = migrations.revisions()
    ids = [one.revision for one in line]
    if to != "head" and to not in ids:
        fail(f"there is no revision {to}: there are {', '.join(ids)}, and head")
    first = 0 if before is None else ids.index(before) + 1
    last = len(ids) if to == "head" else ids.index(to) + 1
    if last < first:
        fail(f"the database is at {before}, which is after {to}: go back with `stripe-sync db rollback --to {to}`")
    return line[first:last]


def _undone(before: str | None, to: str | None, steps: int) -> list[Script]:
    """The revisions to undo, newest first: all revisions of the database after the target."""
    line = migrations.revisions()
    ids = [one.revision for one in line]
    there = 0 if before is None else ids.index(before) + 1
    if to is None:
        if steps > there:
            fail(f"the database is at {before or 'nothing'}: {there} revisions can be undone, not {steps}")
        left = there - steps
    elif to == "base":
        left = 0
    elif to in ids:
        left = ids.index(to) + 1
    else:
        fail(f"there is no revision {to}: there are {', '.join(ids)}, and base")
    if left > there:
        fail(f"the database is at {before or 'nothing'}, which is before {to}: continue with `db migrate --to {to}`")
    return list(reversed(line[left:there]))


def _move(settings: Settings, conn: psycopg.Connection, run: Callable[[str], None], steps: Sequence[Script]) -> None:
    """Run the revisions. If one fails, print which one, the database's revision, and the fix."""
    try:
        run(owner_conninfo(settings))
    except migrations.Refused as error:
        fail(str(error))
    except (DBAPIError, psycopg.Error) as error:
        cause = str(error.orig if isinstance(error, DBAPIError) else error).strip()
        fail("\n".join(_failure(conn, steps, cause)))


def _failure(conn: psycopg.Connection, steps: Sequence[Script], cause: str) -> list[str]:
    at = inventory.revision(conn)
    upwards = len(steps) < 2 or steps[0].revision < steps[-1].revision
    reached = [one.revision if upwards else one.down_revision for one in steps]
    failed = steps[reached.index(at) + 1] if at in reached else steps[0]
    lines = [f"revision {failed.revision} failed: {cause}"]
    with open(failed.path) as file:
        whole = "autocommit_block" not in file.read()
    if whole:
        lines.append(
            f"It was rolled back completely: the database is at {at or 'nothing'}. Fix the cause, and run it again."
        )
    else:
        lines.append(
            f"Part of it ran outside a transaction (autocommit_block), and remains: the database is at {at or 'nothing'}."
        )
        lines += _fixes(inventory.invalid_indexes(conn))
        lines.append("Fix the cause, and run it again.")
    return lines


def _refuse_invalid_indexes(conn: psycopg.Connection) -> None:
    """End the command if there are invalid indexes. CREATE INDEX CONCURRENTLY IF NOT EXISTS would treat them as complete."""
    if invalid := inventory.invalid_indexes(conn):
        fail("\n".join(["an earlier migration was interrupted.", *_fixes(invalid), "Then run it again."]))


def _fixes(indexes: Sequence[str]) -> list[str]:
    return [f"The index {name} is incomplete; remove it: drop index concurrently {name};" for name in indexes]
