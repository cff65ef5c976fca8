"""Differences between Stripe and the mirror that reads have repaired, kept in `sync.drift` for operators."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True, slots=True)
class Drift:
    """A repaired object: the fields that differed, and the age of the mirrored state in seconds."""

    object: str
    object_id: str
    fields: tuple[str, ...]
    behind_seconds: int


def keep(conn: psycopg.Connection, drifts: Sequence[Drift], *, by: str) -> None:
    """Store these repairs. Retention removes them later."""
    if not drifts:
        return
    conn.cursor().executemany(
        """
        insert into sync.drift (object, object_id, fields, behind, found_by)
        values (%s, %s, %s, make_interval(secs => %s), %s)
        """,
        [(one.object, one.object_id, list(one.fields), one.behind_seconds, by) for one in drifts],
    )
