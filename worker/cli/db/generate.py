"""`stripe-sync db generate`: a revision with what the database lacks, or the application's types."""

import sys
from pathlib import Path

import migrations
import schema.tables
from migrations.generate import NothingToGenerate
from migrations.generate import generate as generate_revision
from worker.cli.db import drizzle, target
from worker.cli.output import fail, say
from worker.config import settings as config
from worker.postgres.pool import owner_conninfo


def run(*, message: str | None, types: str | None, output: Path | None) -> None:
    """Write a revision that brings a database at head to the schema of schema/, with its SQL; or table definitions."""
    if (message is None) == (types is None):
        fail('say -m "what the revision is for", or --types typescript')
    if types is not None:
        _types(output)
    elif message is not None and message.strip():
        _revision(message.strip())
    else:
        fail("the message is empty: say what the revision is for")


def _types(output: Path | None) -> None:
    definitions = drizzle.render(schema.tables.Base)
    if output is None:
        sys.stdout.write(definitions)
        return
    output.write_text(definitions)
    say(f"The tables of public are in {output}, as Drizzle defines them.")


def _revision(message: str) -> None:
    settings = config.load()
    with target.owner(settings) as conn:
        target.announce(settings, conn)
        at = target.known_revision(conn)
    if at != migrations.head():
        fail(
            f"the database is at {at or 'nothing'}, not at {migrations.head()}: run `stripe-sync db migrate` first; what "
            "is generated is the difference between it and the metadata"
        )
    try:
        made = generate_revision(owner_conninfo(settings), message)
    except NothingToGenerate as nothing:
        fail(str(nothing))
    say(f"{made.revision} was written, with {' and '.join(str(file) for file in made.sql)}. It fixes:")
    for difference in made.brings:
        say(f"  {difference}")
    say(
        "Read the SQL, up and down. Write the names of the application's tables, columns and types as placeholders, @{users}"
    )
    say("or @{users.email}: an adopted database calls them otherwise. Then run `stripe-sync db migrate`.")
