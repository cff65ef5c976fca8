"""docs/privacy.md describes every table and how long its rows are kept."""

import re
from pathlib import Path

import psycopg

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"


def test_the_page_has_every_table(conn: psycopg.Connection) -> None:
    named = set()
    section = PAGE.read_text().partition("### Every table")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
        schema = ""
        for name in re.findall(r"`([\w.]+)`", line):
            schema = name.partition(".")[0] if "." in name else schema
            named.add(f"{schema}.{name.rpartition('.')[2]}")

    there = conn.execute(
        """
        select n.nspname || '.' || c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('public', 'mirror', 'sync') and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
        """
    )
    assert {name for (name,) in there} == named
