"""Long work cut into shards: who works on which, and how far each has come, in `sync.shards`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

# Each page is a sign of life; who gives none for so long has died, and somebody else takes the shard.
LEASE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Shard:
    """A span of `created`, [gte, lt) in unix seconds, open where None; `place` is where its pass stands."""

    id: int
    run_id: int
    gte: int | None
    lt: int | None
    place: dict[str, Any] | None
    tally: dict[str, int]


def add(conn: psycopg.Connection, run: int, spans: Sequence[tuple[int | None, int | None]]) -> list[int]:
    """The ids of new shards of the run, one for each span."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            insert into sync.shards (run_id, gte, lt)
            select %s, gte, lt from unnest(%b::bigint[], %b::bigint[]) as spans (gte, lt)
            returning id
            """,
            (run, [gte for gte, _ in spans], [lt for _, lt in spans]),
        ).fetchall()


def take(conn: psycopg.Connection, shard: int) -> Shard | None:
    """The shard, ours until its lease runs out; None where it is done, or somebody else's."""
    with conn.cursor(row_factory=class_row(Shard)) as cursor:
        return cursor.execute(
            """
            update sync.shards as s
            set leased_until = now() + make_interval(secs => %s)
            from sync.runs as r
            where s.id = %s and r.id = s.run_id and r.finished_at is null and not s.done
                and (s.leased_until is null or s.leased_until < now())
            returning s.id, s.run_id, s.gte, s.lt, s.place, s.tally
            """,
            (LEASE_SECONDS, shard),
        ).fetchone()


def save(conn: psycopg.Connection, shard: int, place: dict[str, Any] | None, tally: dict[str, int]) -> None:
    """Where the pass stands; the lease and the run live on."""
    conn.execute(
        """
        with saved as (
            update sync.shards
            set place = %s, tally = %s, leased_until = now() + make_interval(secs => %s)
            where id = %s
            returning run_id
        )
        update sync.runs set seen_at = now() where id = (select run_id from saved)
        """,
        (None if place is None else Jsonb(place), Jsonb(tally), LEASE_SECONDS, shard),
    )


def release(conn: psycopg.Connection, shard: int) -> None:
    """The slice is over; whoever comes next goes on."""
    conn.execute("update sync.shards set leased_until = null where id = %s", (shard,))


def finish(conn: psycopg.Connection, shard: int) -> dict[str, int] | None:
    """The shard is done. The last one of its run gets the run's whole tally, the others None."""
    row = conn.execute("update sync.shards set done = true where id = %s returning run_id", (shard,)).fetchone()
    assert row is not None
    conn.execute("select from sync.runs where id = %s for update", (row[0],))  # one at a time looks who is the last
    left = conn.execute("select count(*) from sync.shards where run_id = %s and not done", (row[0],)).fetchone()
    if left != (0,):
        return None
    total: dict[str, int] = {}
    for (tally,) in conn.execute("select tally from sync.shards where run_id = %s", (row[0],)):
        for name, number in tally.items():
            total[name] = total.get(name, 0) + number
    return total


def abandoned(conn: psycopg.Connection) -> list[int]:
    """The shards of running runs that nobody works on."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select s.id
            from sync.shards as s
            join sync.runs as r on r.id = s.run_id
            where r.finished_at is null and not s.done and (s.leased_until is null or s.leased_until < now())
            """
        ).fetchall()
