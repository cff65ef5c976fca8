"""Count the round trips of a connection in libpq's trace."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg

_WAITS = ("Flush", "Sync", "Query")


def count(conn: psycopg.Connection, work: Callable[[], object]) -> tuple[int, int]:
    """The number of statements that `work` sends, and of round trips, which is how often it waits for answers."""
    with tempfile.NamedTemporaryFile() as file:
        conn.pgconn.trace(file.fileno())
        try:
            work()
        finally:
            conn.pgconn.untrace()
        lines = [line.split("\t") for line in Path(file.name).read_text(errors="replace").splitlines()]
    sent = [fields[3] for fields in lines if len(fields) > 3 and fields[1] == "F"]
    asked = [
        kind
        for before, kind in zip(["", *sent], sent, strict=False)
        if kind == "Query" or (kind in _WAITS and before not in _WAITS)
    ]
    return sent.count("Execute") + sent.count("Query"), len(asked)
