"""Differences between Stripe's lists and the mirror, kept in `sync.drift`: kept for whoever asks what was missed."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True, slots=True)
class Drift:
    """An object that was repaired: which fields differed, and how many seconds old the mirrored state was."""

    object: str
    object_id: str
    fields: tuple[str, ...]
    behind_seconds: int


def keep(conn: psycopg.Connection, drifts: Sequence[Drift], *, by: str) -> None:
    """Keep these; the beat's retention forgets them."""
    if not drifts:
        return
    conn.cursor().executemany(
        """
        insert into sync.drift (object, object_id, fields, behind, found_by)
        values (%s, %s, %s, make_interval(secs => %s), %s)
        """,
        [(one.object, one.object_id, list(one.fields), one.behind_seconds, by) for one in drifts],
    )
