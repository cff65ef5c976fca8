"""Adoption and migration give an empty database the same schema, and a migrated database lacks nothing."""

import psycopg

from schema.names import Names
from tests.adoption.catalogue import everything
from worker.adoption import adopt
from worker.adoption.rules.findings import Verdict


def test_an_adopted_empty_database_equals_a_migrated_one(empty_database: str, database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        adopt.adopt(conn, Names(), is_membership=True)

    assert everything(empty_database) == everything(database)


def test_a_migrated_database_lacks_nothing(conn: psycopg.Connection) -> None:
    report = adopt.look(conn, Names(), is_membership=True)

    assert [finding for finding in report.findings if finding.verdict is not Verdict.FITS] == []
