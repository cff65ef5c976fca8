"""Objects to read from Stripe (`sync.refetch_queue`): one row for each object, so that many events need one read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from schema import mirror
from worker.mirror.fold import Key
from worker.mirror.registry import TYPES, object_type
from worker.mirror.version import AMBIGUITY_SECONDS

# After this pause a burst of events is over and Stripe's replicas have the object, so a read settles it.
PAUSE_SECONDS = 6
LEASE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to read, and the time of its newest event in unix seconds. None means now by our clock."""

    key: Key
    path: str
    event_at: int | None


@dataclass(frozen=True, slots=True)
class Ask:
    """An object that is leased to us to be read. `missing_at` is when a first read did not find it."""

    object: str
    id: str
    account: str
    path: str
    event_at: datetime
    attempts: int
    missing_at: datetime | None

    @property
    def key(self) -> Key:
        return Key(object_type(self.object).table.name, self.object, self.id, self.account)


def want(conn: psycopg.Connection, wanted: Iterable[Wanted]) -> None:
    """Request a read of each of these objects, after its newest event has reached all of Stripe's replicas."""
    rows = sorted({(w.key.object, w.key.id, w.key.account): w for w in wanted}.items())
    if not rows:
        return
    conn.execute(
        """
        insert into sync.refetch_queue as a (object, id, account, path, event_at, due_at)
        select object, id, account, path, coalesce(to_timestamp(event_at), now()),
            greatest(now() + interval '1 second',
                least(now(), coalesce(to_timestamp(event_at), now())) + make_interval(secs => %s))
        from unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[]) as w (object, id, account, path, event_at)
        on conflict (object, id, account) do update
        set event_at = greatest(a.event_at, excluded.event_at), due_at = greatest(a.due_at, excluded.due_at),
            attempts = 0, missing_at = null
        """,
        (
            PAUSE_SECONDS,
            [key[0] for key, _ in rows],
            [key[1] for key, _ in rows],
            [key[2] for key, _ in rows],
            [w.path for _, w in rows],
            [w.event_at for _, w in rows],
        ),
    )


def want_forgotten(conn: psycopg.Connection, *, limit: int) -> int:
    """Request reads of unsettled rows that have no request; returns their number.

    The mark on the row is the truth, and a request may get lost. The time of an object on a test clock is not real
    time, so it is not used.
    """
    queued = 0
    for name in mirror.tables:
        object_ = "m.object" if name == "objects" else "%(object)s"
        rows = conn.execute(
            f"""
            select {object_}, m.id, m.account,
                case when m.data ->> 'test_clock' is null then extract(epoch from m.observed_at)::bigint end
            from mirror.{name} as m
            where m.unsettled
                and not exists (
                    select from sync.refetch_queue as a where a.object = {object_} and a.id = m.id and a.account = m.account
                )
            limit %(limit)s
            """,  # noqa: S608 - names from the schema
            {"object": _object_of(name), "limit": limit},
        ).fetchall()
        wanted = []
        for object_name, id_, account, event_at in rows:
            url = object_type(object_name).url
            if url is not None:
                wanted.append(Wanted(Key(name, object_name, id_, account), url.format(id=id_), event_at))
        want(conn, wanted)
        queued += len(wanted)
    return queued


def lease(conn: psycopg.Connection, *, limit: int) -> list[Ask]:
    """Lease due requests, the longest due first. The attempt is counted before the work."""
    with conn.cursor(row_factory=class_row(Ask)) as cursor:
        return cursor.execute(
            """
            update sync.refetch_queue
            set attempts = attempts + 1, due_at = now() + make_interval(secs => %s)
            where (object, id, account) in (
                select object, id, account from sync.refetch_queue
                where due_at <= now()
                order by due_at
                limit %s
                for update skip locked
            )
            returning object, id, account, path, event_at, attempts, missing_at
            """,
            (LEASE_SECONDS, limit),
        ).fetchall()


def count_due(conn: psycopg.Connection) -> int:
    """Whether a request is due: 0 or 1."""
    row = conn.execute(
        "select count(*) from (select from sync.refetch_queue where due_at <= now() order by due_at limit 1) as due"
    ).fetchone()
    return int(row[0]) if row else 0


def backlog(conn: psycopg.Connection) -> tuple[int, float]:
    """The number of objects that wait, counted up to 10,000, and how many seconds the longest due object has waited."""
    row = conn.execute(
        """
        select
            (select count(*) from (select from sync.refetch_queue limit 10000) as counted),
            coalesce((select greatest(extract(epoch from now() - min(due_at)), 0)::float8 from sync.refetch_queue), 0)
        """
    ).fetchone()
    assert row is not None
    return row


def any_wanted(conn: psycopg.Connection) -> bool:
    """Whether a request is due within the next seconds."""
    return (
        conn.execute(
            "select from sync.refetch_queue where due_at <= now() + make_interval(secs => %s) order by due_at limit 1",
            (2 * PAUSE_SECONDS,),
        ).fetchone()
        is not None
    )


def is_answered(conn: psycopg.Connection, ask: Ask) -> bool:
    """Whether a later event has settled the object in the meantime, so that no read is needed."""
    of_type = " and object = %s" if ask.key.table == "objects" else ""
    return (
        conn.execute(
            f"""
            select from mirror.{ask.key.table}
            where id = %s and account = %s{of_type} and not unsettled
                and observed_at > %s + make_interval(secs => %s)
            """,
            (ask.id, ask.account, *([ask.object] if of_type else []), ask.event_at, AMBIGUITY_SECONDS),
        ).fetchone()
        is not None
    )


def done(conn: psycopg.Connection, ask: Ask) -> None:
    """Remove the request, because the object is settled. It stays if a newer event has requested the object again."""
    conn.execute(
        "delete from sync.refetch_queue where object = %s and id = %s and account = %s and event_at = %s",
        (ask.object, ask.id, ask.account, ask.event_at),
    )


def put_off(conn: psycopg.Connection, ask: Ask, *, seconds: float, error: str | None = None) -> None:
    """Make the request due again after a pause."""
    conn.execute(
        """
        update sync.refetch_queue set due_at = now() + make_interval(secs => %s), error = %s
        where object = %s and id = %s and account = %s
        """,
        (seconds, error, ask.object, ask.id, ask.account),
    )


def remember(conn: psycopg.Connection, ask: Ask, *, missing_again_after: float) -> None:
    """Record that a first read did not find the object. A second read must confirm it."""
    conn.execute(
        """
        update sync.refetch_queue
        set missing_at = coalesce(missing_at, now()), due_at = now() + make_interval(secs => %s)
        where object = %s and id = %s and account = %s
        """,
        (missing_again_after, ask.object, ask.id, ask.account),
    )


def refused(conn: psycopg.Connection) -> Sequence[tuple[str, str, int]]:
    """The reads that Stripe refuses: type, reason, number of objects."""
    return conn.execute(
        "select object, error, count(*) from sync.refetch_queue where error is not null group by object, error order by object"
    ).fetchall()


def _object_of(table: str) -> str:
    return next((type_.name for type_ in TYPES.values() if type_.table.name == table), table)
