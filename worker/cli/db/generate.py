"""`stripe-sync db generate`: write a revision for the changes in schema/, or the application's tables in TypeScript."""

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
    """Write a revision that makes a database at head equal to schema/; or write table definitions."""
    if (message is None) == (types is None):
        fail('use -m "the purpose of the revision", or --types typescript')
    if types is not None:
        _types(output)
    elif message is not None and message.strip():
        _revision(message.strip())
    else:
        fail("the message is empty: give the purpose of the revision")


def _types(output: Path | None) -> None:
    definitions = drizzle.render(schema.tables.Base)
    if output is None:
        sys.stdout.write(definitions)
        return
    output.write_text(definitions)
    say(f"The Drizzle definitions of the tables of public were written to {output}.")


def _revision(message: str) -> None:
    settings = config.load()
    with target.owner(settings) as conn:
        target.announce(settings, conn)
        at = target.known_revision(conn)
    if at != migrations.head():
        fail(
            f"the database is at {at or 'nothing'}, not at {migrations.head()}: run `stripe-sync db migrate` first, because "
            "the revision is the difference between the database and schema/"
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
    say("or @{users.email}: an adopted database has other names. Then run `stripe-sync db migrate`.")
