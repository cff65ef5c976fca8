"""Queries of the backfill page: the newest backfill, and connected accounts."""

from collections import defaultdict
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.writers import backfill

Row = dict[str, Any]
ACCOUNTS = 50
_ORDER = ("failed", "reading", "done", "not available", "stopped", "waiting")


def progress(conn: psycopg.Connection) -> Row | None:
    """The progress of the newest backfill; None if there was none.

    Its lists are sorted by state, failed lists first. Each error has the names of the lists that failed with it.
    """
    newest = backfill.progress(conn)
    if newest is None:
        return None
    ended = newest["finished_at"] is not None
    lists: list[Row] = [
        each | {"state": "stopped" if ended and each["state"] in ("reading", "waiting") else each["state"]}
        for each in newest["lists"]
    ]
    errors: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for each in lists:
        if each["error"]:
            errors[each["state"], each["error"]].append(each["list"])
    return newest | {
        "started_at": datetime.fromisoformat(newest["started_at"]),
        "finished_at": datetime.fromisoformat(newest["finished_at"]) if ended else None,
        "lists": sorted(lists, key=lambda each: (_ORDER.index(each["state"]), -each["listed"])),
        "errors": sorted(errors.items()),
        "finished_lists": sum(each["state"] in ("done", "failed", "not available") for each in lists),
    }


def accounts(conn: psycopg.Connection) -> list[Row]:
    """Connected accounts, the least recently read first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select id, status, last_event_at, last_pass_at, rounds, error from sync.accounts
            order by status, last_pass_at nulls first, id limit %s
            """,
            (ACCOUNTS,),
        ).fetchall()
