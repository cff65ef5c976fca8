"""`stripe-sync db check` and `sql`: compare the database with the code, and print the SQL of revisions."""

import sys

import typer

import migrations
from migrations import drift
from worker.adoption import store as adoption_store
from worker.cli.db import target
from worker.cli.output import fail, say, say_json
from worker.config import settings as config
from worker.postgres import inventory
from worker.postgres.pool import owner_conninfo


def check(*, as_json: bool) -> None:
    """Check that the database is at head and has the schema that schema/ declares.

    Prints each difference; exit code 1 if there is one.
    """
    settings = config.load()
    with target.owner(settings) as conn:
        if adoption_store.adopted(conn) is not None:
            fail(
                "this database was adopted, so its names may differ from ours: run `stripe-sync db adopt` to compare it"
            )
        at, head = inventory.revision(conn), migrations.head()
        indexes = inventory.invalid_indexes(conn)
        if not as_json:
            target.announce(settings, conn)
            target.known_revision(conn)
    problems = drift.differences(owner_conninfo(settings)) if at == head else []
    problems += [f"the index {name} is incomplete: drop index concurrently {name};" for name in indexes]
    well = at == head and not problems
    if as_json:
        say_json({"revision": at, "head": head, "differences": problems})
    elif at != head:
        say(f"It is at {at or 'nothing'}, not at {head}: run `stripe-sync db migrate`, then check again.")
    else:
        say(
            f"It is at {at}, the newest revision"
            + (", and equals the schema of this release." if well else ". It differs:")
        )
    if not as_json:
        for difference in problems:
            say(f"  {difference}")
    if not well:
        raise typer.Exit(1)


def sql(span: str, *, down: bool) -> None:
    """Print the SQL of revisions, without a database."""
    line = {one.revision: one for one in migrations.revisions()}
    if ":" not in span and span not in line:
        fail(f"there is no revision {span}: there are {', '.join(line)}")
    ends = span.split(":", 1) if ":" in span else [str(line[span].down_revision or "base"), span]
    for end in ends:
        if end not in {*line, "base", "head"}:
            fail(f"there is no revision {end or '(nothing)'}: there are {', '.join(line)}, base and head")
    order = ["base", *line, "head"]
    first, last = sorted(ends, key=order.index)
    migrations.offline_sql(f"{last}:{first}" if down else f"{first}:{last}", down=down, output=sys.stdout)
