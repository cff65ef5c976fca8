"""pg_dump shows the same schema for a migrated database and for one created from the metadata."""

import re

import psycopg

from schema.names import Names
from worker.adoption import adopt
from worker.backup import tools
from worker.config.settings import Settings

# Postgres keeps columns in the order in which they were added, so the lines of a table are compared in any order.
_NOISE = re.compile(r"^(--.*|\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config.*|\s*)$")


def dump(settings: Settings, database: str) -> list[str]:
    with psycopg.connect(database) as conn:
        at_least = tools.major_of(conn)
    program = tools.find(settings, "pg_dump", at_least=at_least)
    text = tools.run([str(program), "--schema-only", "--no-owner"], tools.environment(settings, address=database))
    return sorted(line.rstrip(",") for line in text.splitlines() if not _NOISE.match(line))


def test_a_migrated_database_dumps_as_one_created_from_the_metadata(
    settings: Settings, empty_database: str, database: str
) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        adopt.adopt(conn, Names(), is_membership=True)

    migrated, created = dump(settings, database), dump(settings, empty_database)

    assert len(migrated) > 1000
    assert [line for line in migrated if line not in created] == []
    assert migrated == created
