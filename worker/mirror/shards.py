"""The shards of long passes over lists (`sync.shards`).

A shard is a span of `created` of one list. A worker leases it and saves its position. If the worker dies, the lease
ends, and another worker continues after the last page that was written.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

# A worker renews its leases while it runs. After this time without a renewal it counts as dead.
LEASE_SECONDS = 30
# Stripe opened in 2011, so no object is older. Only estimates and splits use this time; the last shard of a list has no
# lower bound.
OLDEST = 1_293_840_000
# A shard is only split if each part has at least this many pages.
PAGES_WORTH_A_SPLIT = 4


@dataclass(frozen=True, slots=True)
class Shard:
    """A span of `created`: [gte, lt) in unix seconds, with None for an open end.

    `place` is the position that the pass has saved, as JSON.
    """

    id: int
    run_id: int
    list: str
    gte: int | None
    lt: int | None
    place: Any
    tally: dict[str, int]
    failures: int


@dataclass(slots=True)
class Standing:
    """The progress of all shards of one list."""

    list: str
    shards: int = 0
    unfinished: int = 0
    leased: int = 0
    error: str | None = None
    tally: dict[str, int] = field(default_factory=dict)
    remaining: int | None = 0


def begin(conn: psycopg.Connection, job: str, result: Mapping[str, Any]) -> tuple[int, bool]:
    """Begin a run of the job, or find the running one; returns its id and whether it is new.

    `result` is the initial result of a new run.
    """
    with conn.cursor(row_factory=scalar_row) as cursor:
        begun = cursor.execute(
            """
            insert into sync.runs (job, slot, result) values (%s, clock_timestamp(), %s)
            on conflict (job) where finished_at is null do nothing
            returning id
            """,
            (job, Jsonb(dict(result))),
        ).fetchone()
        if begun is not None:
            return begun, True
    current = running(conn, job)
    return (current, False) if current is not None else begin(conn, job, result)


def running(conn: psycopg.Connection, job: str) -> int | None:
    """The id of the job's unfinished run, or None."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute("select id from sync.runs where job = %s and finished_at is null", (job,)).fetchone()


def is_idle(conn: psycopg.Connection, job: str) -> bool:
    """Whether the job has an unfinished run of which no worker has a lease."""
    return (
        conn.execute(
            """
            select from sync.runs as r
            where r.job = %s and r.finished_at is null
                and not exists (select from sync.shards as s where s.run_id = r.id and s.leased_until > now())
            """,
            (job,),
        ).fetchone()
        is not None
    )


def add(conn: psycopg.Connection, run: int, spans: Sequence[tuple[str, int | None, int | None]]) -> None:
    """Add shards to the run: for each the list, and the span [gte, lt) of `created`. Existing shards stay."""
    conn.execute(
        """
        insert into sync.shards (run_id, list, gte, lt)
        select %(run)s, list, gte, lt
        from unnest(%(lists)b::text[], %(gte)b::bigint[], %(lt)b::bigint[]) with ordinality as s (list, gte, lt, n)
        order by n
        """,
        {
            "run": run,
            "lists": [list_ for list_, _, _ in spans],
            "gte": [gte for _, gte, _ in spans],
            "lt": [lt for _, _, lt in spans],
        },
    )


def lists_of(conn: psycopg.Connection, run: int) -> set[str]:
    """The lists that the run reads."""
    return {row[0] for row in conn.execute("select distinct list from sync.shards where run_id = %s", (run,))}


def lease(conn: psycopg.Connection, run: int, room: Mapping[str, int], *, owner: str, limit: int) -> list[Shard]:
    """Lease shards that no worker has leased: at most `room` of each list, and `limit` in total."""
    with conn.cursor(row_factory=class_row(Shard)) as cursor:
        return cursor.execute(
            """
            with ready as (
                select s.id, row_number() over (partition by s.list order by s.id) as nth, room.most
                from sync.shards as s
                join unnest(%(lists)b::text[], %(most)b::bigint[]) as room (list, most) on room.list = s.list
                where s.run_id = %(run)s and not s.done and (s.leased_until is null or s.leased_until < now())
                    and (s.retry_at is null or s.retry_at <= now())
            ), chosen as (
                select s.id from sync.shards as s join ready on ready.id = s.id
                where ready.nth <= ready.most and not s.done and (s.leased_until is null or s.leased_until < now())
                order by ready.nth, s.id limit %(limit)s
                for update of s skip locked
            )
            update sync.shards as s
            set leased_until = now() + make_interval(secs => %(seconds)s), leased_by = %(owner)s
            from chosen where s.id = chosen.id
            returning s.id, s.run_id, s.list, s.gte, s.lt, s.place, s.tally, s.failures
            """,
            {
                "run": run,
                "lists": list(room),
                "most": list(room.values()),
                "owner": owner,
                "limit": limit,
                "seconds": LEASE_SECONDS,
            },
        ).fetchall()


def renew(conn: psycopg.Connection, run: int, *, owner: str) -> bool:
    """Renew our leases, and record that the run is alive; returns False if the run is finished or was stopped."""
    conn.execute(
        """
        update sync.shards set leased_until = now() + make_interval(secs => %s)
        where run_id = %s and leased_by = %s and not done
        """,
        (LEASE_SECONDS, run, owner),
    )
    return (
        conn.execute(
            "update sync.runs set seen_at = now() where id = %s and finished_at is null returning id", (run,)
        ).fetchone()
        is not None
    )


def save(
    conn: psycopg.Connection, shard: int, place: Any, tally: Mapping[str, int], *, owner: str
) -> tuple[int | None] | None:
    """Save the position of one shard, see `save_all`; returns None if the shard is no longer ours."""
    saved = save_all(conn, [(shard, place, tally)], owner=owner)
    return (saved[shard],) if saved else None


def save_all(
    conn: psycopg.Connection, places: Sequence[tuple[int, Any, Mapping[str, int]]], *, owner: str
) -> dict[int, int | None]:
    """Save the positions of shards (shard, place, tally) in the transaction that writes their pages.

    Returns the present start of each span, because another worker may have taken a part of it. If a shard is no longer
    ours, it is not in the result, and nothing may be written for it.
    """
    rows = conn.execute(
        """
        update sync.shards as s set place = v.place, tally = v.tally, failures = 0, retry_at = null
        from unnest(%b::bigint[], %b::jsonb[], %b::jsonb[]) as v (id, place, tally)
        where s.id = v.id and s.leased_by = %s and not s.done
        returning s.id, s.gte
        """,
        (
            [shard for shard, _, _ in places],
            [Jsonb(place) for _, place, _ in places],
            [Jsonb(dict(tally)) for _, _, tally in places],
            owner,
        ),
    )
    return dict(rows.fetchall())


def split(conn: psycopg.Connection, run: int, room: Mapping[str, int], *, limit: int) -> int:
    """Split the shards with the most left to read, for idle workers; returns how many shards were added.

    The unread rest of a shard is split into spans of equal length. Its reader gets the new start of its span from
    `save`.
    """
    added = 0
    for list_, most in room.items():
        most = min(most, limit - added)
        if most <= 0:
            continue
        with conn.transaction():
            row = conn.execute(
                """
                select id, gte, (place ->> 'down_to')::bigint, greatest((place ->> 'span')::bigint, 1)
                from sync.shards
                where run_id = %s and list = %s and not done and place ->> 'down_to' is not null
                order by ((place ->> 'down_to')::bigint - coalesce(gte, %s)) / greatest((place ->> 'span')::bigint, 1) desc
                limit 1
                for update skip locked
                """,
                (run, list_, OLDEST),
            ).fetchone()
            if row is None:
                continue
            id_, gte, down_to, span = row
            low = OLDEST if gte is None else gte
            parts = min(most + 1, (down_to - low) // span // PAGES_WORTH_A_SPLIT)
            cuts = sorted({low + (down_to - low) * part // parts for part in range(1, parts)} - {low, down_to})
            if not cuts:
                continue
            conn.execute("update sync.shards set gte = %s where id = %s", (cuts[-1], id_))
            bounds = [gte, *cuts]
            add(conn, run, [(list_, bounds[n], bounds[n + 1]) for n in range(len(bounds) - 1)])
            added += len(cuts)
    return added


def release(conn: psycopg.Connection, shards: Collection[int], *, owner: str) -> None:
    """Release our leases of these shards."""
    conn.execute(
        "update sync.shards set leased_until = null, leased_by = null where id = any(%b::bigint[]) and leased_by = %s",
        (list(shards), owner),
    )


def is_last(conn: psycopg.Connection, run: int, list_: str) -> bool:
    """Whether every other list of the run is finished."""
    return (
        conn.execute(
            "select from sync.shards where run_id = %s and list <> %s and not done limit 1", (run, list_)
        ).fetchone()
        is None
    )


def finish(conn: psycopg.Connection, shard: int, *, owner: str) -> None:
    """Mark the shard as read to its end."""
    conn.execute(
        "update sync.shards set done = true, leased_until = null where id = %s and leased_by = %s", (shard, owner)
    )


def put_off(conn: psycopg.Connection, shard: int, *, seconds: float, owner: str) -> None:
    """Retry the shard after a pause."""
    conn.execute(
        """
        update sync.shards
        set failures = failures + 1, retry_at = now() + make_interval(secs => %s), leased_until = null, leased_by = null
        where id = %s and leased_by = %s
        """,
        (seconds, shard, owner),
    )


def fail(conn: psycopg.Connection, run: int, list_: str, error: str, *, refused: bool = False) -> None:
    """Give up a list in this run. Its shards are no longer read, and `error` is the reason.

    `refused` is true if Stripe does not offer the list to this key or account.
    """
    conn.execute(
        """
        update sync.shards
        set done = true, error = %s, leased_until = null,
            besides = case when %s then besides || '{"refused_lists": 1}' else besides end
        where run_id = %s and list = %s and (not done or id = (
            select max(id) from sync.shards where run_id = %s and list = %s
        ))
        """,
        (error, refused, run, list_, run, list_),
    )


def count(conn: psycopg.Connection, run: int, list_: str, numbers: Mapping[str, int]) -> None:
    """Add these numbers to the tally of a list, for work other than reading its pages.

    The numbers are stored separately, because each reader writes the tally of its own shard.
    """
    conn.execute(
        """
        update sync.shards
        set besides = besides || (
            select jsonb_object_agg(name, coalesce((besides ->> name)::bigint, 0) + number)
            from unnest(%s::text[], %s::bigint[]) as n (name, number)
        )
        where id = (select min(id) from sync.shards where run_id = %s and list = %s)
        """,
        (list(numbers), list(numbers.values()), run, list_),
    )


def any_put_off(conn: psycopg.Connection, run: int) -> bool:
    """Whether a shard waits for a retry."""
    return (
        conn.execute(
            "select from sync.shards where run_id = %s and not done and retry_at > now() limit 1", (run,)
        ).fetchone()
        is not None
    )


def standings(conn: psycopg.Connection, run: int) -> dict[str, Standing]:
    """The progress of each list of the run, in the order in which the lists were added."""
    with conn.cursor(row_factory=class_row(_Row)) as cursor:
        rows = cursor.execute(
            """
            select list, gte, lt, (place ->> 'down_to')::bigint as down_to, done, error, tally, besides,
                not done and leased_until > now() as leased, extract(epoch from now())::bigint as now
            from sync.shards where run_id = %s order by id
            """,
            (run,),
        ).fetchall()
    by_list: dict[str, list[_Row]] = {}
    for row in rows:
        by_list.setdefault(row.list, []).append(row)
    return {name: _standing(name, each) for name, each in by_list.items()}


@dataclass(frozen=True, slots=True)
class _Row:
    list: str
    gte: int | None
    lt: int | None
    down_to: int | None
    done: bool
    error: str | None
    tally: dict[str, int]
    besides: dict[str, int]
    leased: bool | None
    now: int

    @property
    def _span(self) -> tuple[int, int]:
        return (OLDEST if self.gte is None else self.gte, self.now if self.lt is None else self.lt)

    @property
    def unread(self) -> int:
        """How many seconds of `created` are left. A shard that has not begun has all its seconds left."""
        low, high = self._span
        return 0 if self.done else max(0, (high if self.down_to is None else self.down_to) - low)

    @property
    def read(self) -> int:
        low, high = self._span
        return max(0, high - low - self.unread)


def _standing(name: str, rows: Sequence[_Row]) -> Standing:
    standing = Standing(name, shards=len(rows), unfinished=sum(not row.done for row in rows))
    standing.leased = sum(bool(row.leased) for row in rows)
    standing.error = next((row.error for row in rows if row.error), None)
    for row in rows:
        for what, number in (*row.tally.items(), *row.besides.items()):
            standing.tally[what] = standing.tally.get(what, 0) + number
    standing.remaining = _remaining(standing, rows)
    return standing


def _remaining(standing: Standing, rows: Sequence[_Row]) -> int | None:
    """The approximate number of objects left, or None if it can't be estimated.

    Stripe's lists have no total. The estimate is the number of objects read so far for each second of `created`, times
    the seconds left. A shard that has begun uses its own rate, other shards the rate of the list.
    """
    if not standing.unfinished:
        return 0
    listed, read = standing.tally.get("listed", 0), sum(row.read for row in rows if row.tally.get("listed"))
    if not listed or not read:
        return None
    return sum(
        row.unread
        * (row.tally["listed"] if row.tally.get("listed") and row.read else listed)
        // (row.read if row.tally.get("listed") and row.read else read)
        for row in rows
    )
