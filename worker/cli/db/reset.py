"""`stripe-sync db reset`: drop our objects and create them again, without touching the application's."""

import psycopg

import migrations
import schema.tables
from migrations import enums
from schema.functions import FUNCTIONS
from worker.adoption import store as adoption_store
from worker.cli.db import target
from worker.cli.output import fail, say
from worker.config import settings as config
from worker.postgres import inventory
from worker.postgres.pool import owner_conninfo


def run(*, yes: bool) -> None:
    """Drop our tables with everything in them, and create them again. Refused in production; other tables stay."""
    settings = config.load()
    target.refuse_production(settings, "reset")
    with target.owner(settings) as conn:
        target.announce(settings, conn)
        if adoption_store.adopted(conn) is not None:
            fail("this database was adopted: its tables were the application's before. Nothing was changed.")
        there = set(inventory.tables_in(conn, "public"))
        ours = sorted(table.name for table in schema.tables.metadata.tables.values() if table.schema is None)
        dropped = [table for table in ours if table in there]
        counts = inventory.row_counts(conn, dropped)
        say("This drops the schemas stripe, mirror and sync, and these tables of public with their rows:")
        say("  " + (", ".join(f"{table} ({rows:,})" for table, rows in counts.items()) or "nothing"))
        if others := sorted(there - set(ours)):
            say(f"These other tables of public stay as they are: {', '.join(others)}.")
        target.confirm(settings, "Drop them and create them again?", yes=yes, always=True)
        try:
            inventory.drop_ours(
                conn, tables=dropped, functions=list(FUNCTIONS), types=list(enums.declared(schema.tables.metadata))
            )
        except psycopg.errors.DependentObjectsStillExist as error:
            fail(f"something else depends on what would be dropped; remove it first. Nothing was changed.\n{error}")
        migrations.migrate(owner_conninfo(settings), views_schema=settings.stripe_schema)
        say(f"The database ({settings.app_env}) is at {migrations.head()}, and empty.")
