"""The inbox, `sync.events`. Events are stored once, leased in batches, and marked done in the transaction that applies them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row, scalar_row

from worker.inbox.secrets import OURS
from worker.stripe_api.envelope import Envelope
from worker.stripe_api.event import ObjectRef

SUSPICIOUS_ATTEMPTS = 3
# At most this many events are counted or searched if no index helps.
MOST_COUNTED = 100_000
LONG_AGO = 1
_NO_VERDICTS: Mapping[str, str | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Leased:
    """An event that this worker owns until its lease expires."""

    id: str
    attempts: int
    livemode: bool
    body: str
    age_seconds: float
    """The age of the event when it was leased.

    At the first attempt it is counted from the time the event became due: its arrival, or its replay. At later attempts,
    and if there was an error before, it is counted from the arrival.
    """
    traceparent: str | None


# Rows are inserted in the order of their ids, so that processes that store the same events at once can't deadlock.
INSERT = """
    insert into sync.events (
        id, account, type, object_type, object_id, livemode, created, body, traceparent, signed_by, status, outcome
    )
    select id, account, type, object_type, object_id, livemode, to_timestamp(created), body, traceparent, signed_by,
        case when held then 'parked' else 'pending' end, case when held then 'held' end
    from unnest(
        %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::boolean[], %b::float8[], %b::text[], %b::text[],
        %b::text[], %b::boolean[]
    ) as arrived (id, account, type, object_type, object_id, livemode, created, body, traceparent, signed_by, held)
    order by id
    on conflict (id) do nothing
    returning id
"""


def insert_parameters(
    envelopes: Iterable[Envelope], verdicts: Mapping[str, str | None] = _NO_VERDICTS
) -> list[list[Any]]:
    """The parameters of INSERT. If a secret has no verdict yet, its events are held; see `secrets`."""
    rows = [
        (
            *(a.id, a.account, a.type, a.object_type, a.object_id, a.livemode, a.created, a.body, a.traceparent),
            *_signer(a, verdicts),
        )
        for a in envelopes
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _signer(envelope: Envelope, verdicts: Mapping[str, str | None]) -> tuple[str | None, bool]:
    """The fingerprint of the event's secret (None if the secret is proven to be ours), and whether the event is held."""
    verdict = verdicts.get(envelope.signed_by, OURS)
    return (None if verdict == OURS else envelope.signed_by), verdict is None


def store(conn: psycopg.Connection, envelopes: Sequence[Envelope]) -> set[str]:
    """Store the events. Returns the ids of the new ones. Events that were stored before are not changed."""
    if not envelopes:
        return set()
    with conn.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute(INSERT, insert_parameters(envelopes)))


def lease(conn: psycopg.Connection, *, limit: int, seconds: float) -> list[Leased]:
    """Lease up to `limit` due events, the longest due first. Each attempt is counted before the work begins.

    An event with several unfinished attempts is leased by itself. If it kills its worker again, no other event is delayed.
    """
    leased = _lease(conn, "attempts < %(suspicious)s", limit, seconds)
    return leased or _lease(conn, "attempts >= %(suspicious)s", 1, seconds)


def _lease(conn: psycopg.Connection, which: str, limit: int, seconds: float) -> list[Leased]:
    statement = f"""
        with due as (
            select id, next_attempt_at, last_error
            from sync.events
            where status = 'pending' and next_attempt_at <= now() and {which}
            order by next_attempt_at
            limit %(limit)s
            for update skip locked
        )
        update sync.events as e
        set attempts = e.attempts + 1, next_attempt_at = now() + make_interval(secs => %(seconds)s)
        from due
        where e.id = due.id
        returning e.id, e.attempts, e.livemode, e.body, e.traceparent, extract(epoch from clock_timestamp() - case
            when e.attempts = 1 and due.last_error is null then due.next_attempt_at else e.received_at
        end)::float8 as age_seconds
    """  # noqa: S608 - `which` is one of the two literals above
    with conn.cursor(row_factory=class_row(Leased)) as cursor:
        return cursor.execute(
            statement, {"seconds": seconds, "limit": limit, "suspicious": SUSPICIOUS_ATTEMPTS}
        ).fetchall()


def listening_since(conn: psycopg.Connection) -> int | None:
    """The arrival of the oldest stored event in unix seconds; None if the inbox is empty.

    Arrivals have no index, so if the inbox has more than MOST_COUNTED events, LONG_AGO is returned instead.
    """
    row = conn.execute(
        """
        select count(*), floor(extract(epoch from min(received_at)))::bigint
        from (select received_at from sync.events limit %s) as first
        """,
        (MOST_COUNTED + 1,),
    ).fetchone()
    number, oldest = row or (0, None)
    return LONG_AGO if number > MOST_COUNTED else oldest


def missing(conn: psycopg.Connection, event_ids: Sequence[str]) -> set[str]:
    """The given ids that are not in the inbox."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        rows = cursor.execute(
            """
            select id from unnest(%b::text[]) as wanted (id)
            where not exists (select from sync.events as e where e.id = wanted.id)
            """,
            (list(event_ids),),
        )
        return set(rows)


def arrivals(conn: psycopg.Connection, event_ids: Sequence[str]) -> dict[str, float]:
    """The arrival of each of these events, in unix seconds. Events that are not in the inbox are left out."""
    return dict(
        conn.execute(
            "select id, extract(epoch from received_at)::float8 from sync.events where id = any(%b::text[])",
            (list(event_ids),),
        ).fetchall()
    )


def newest_bursts(
    conn: psycopg.Connection, objects: Sequence[ObjectRef], *, livemode: bool, pause_seconds: int, most: int
) -> list[list[str]]:
    """For each object, the bodies of its newest events, back to the first pause longer than `pause_seconds`.

    Bodies are large, so if the burst has `most` events or more, the object's list is empty.
    """
    bursts: list[list[str]] = [[] for _ in objects]
    rows = conn.execute(
        """
        select w.number, burst.body
        from unnest(%(types)b::text[], %(ids)b::text[], %(accounts)b::text[])
            with ordinality as w (type, id, account, number)
        cross join lateral (
            select body, count(*) over () as size
            from (
                select body, count(*) filter (where pause > make_interval(secs => %(pause)s)) over backwards as pauses
                from (
                    select id, created, body, lag(created) over backwards - created as pause
                    from (
                        select id, created, body
                        from sync.events
                        where object_id = w.id and object_type = w.type and account = w.account
                            and livemode = %(livemode)s
                        order by created desc, id desc
                        limit %(most)s
                    ) as newest
                    window backwards as (order by created desc, id desc)
                ) as spaced
                window backwards as (order by created desc, id desc)
            ) as counted
            where pauses = 0
        ) as burst
        where burst.size < %(most)s
        """,
        {
            "types": [type_ for type_, _, _ in objects],
            "ids": [id_ for _, id_, _ in objects],
            "accounts": [account for _, _, account in objects],
            "livemode": livemode,
            # Thin events have milliseconds, which the rule ignores. The extra second keeps the events of one burst together.
            "pause": pause_seconds + 1,
            "most": most,
        },
    )
    for number, body in rows:
        bursts[number - 1].append(body)
    return bursts


def mark_done(conn: psycopg.Connection, outcomes: dict[str, str]) -> None:
    """Mark the events done, each with its outcome. Call it in the transaction that applies them."""
    conn.execute(
        """
        update sync.events as e
        set status = 'done', outcome = d.outcome, done_at = now(), last_error = null
        from unnest(%b::text[], %b::text[]) as d (id, outcome)
        where e.id = d.id and e.status = 'pending'
        """,
        (list(outcomes), list(outcomes.values())),
    )


def replace_bodies(conn: psycopg.Connection, bodies: dict[str, str]) -> None:
    """Replace the bodies of the events. Only the name of the last error is kept, because its message may quote the old body."""
    conn.execute(
        """
        update sync.events as e
        set body = n.body, last_error = split_part(e.last_error, ':', 1)
        from unnest(%b::text[], %b::text[]) as n (id, body)
        where e.id = n.id
        """,
        (list(bodies), list(bodies.values())),
    )


def retry(conn: psycopg.Connection, event_id: str, *, error: str, pause: timedelta) -> None:
    """Make the event due again after `pause`."""
    conn.execute(
        "update sync.events set next_attempt_at = now() + %s, last_error = %s where id = %s and status = 'pending'",
        (pause, error, event_id),
    )


def release(conn: psycopg.Connection, event_id: str, *, error: str, pause: timedelta) -> None:
    """Make the event due again after `pause`, without counting this attempt."""
    conn.execute(
        """
        update sync.events
        set next_attempt_at = now() + %s, last_error = %s, attempts = greatest(attempts - 1, 0)
        where id = %s and status = 'pending'
        """,
        (pause, error, event_id),
    )


def park(conn: psycopg.Connection, event_id: str, *, error: str, outcome: str = "parked") -> None:
    """Set the event aside until a person replays or discards it."""
    conn.execute(
        "update sync.events set status = 'parked', outcome = %s, last_error = %s where id = %s and status = 'pending'",
        (outcome, error, event_id),
    )


def park_killers(conn: psycopg.Connection, *, max_attempts: int) -> list[str]:
    """Park events that have used all attempts without a result, because each worker died. Returns their ids."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            update sync.events
            set status = 'parked', outcome = 'parked',
                last_error = coalesce(last_error, 'every worker that tried to apply it died without an error')
            where status = 'pending' and next_attempt_at <= now() and attempts >= %s
            returning id
            """,
            (max_attempts,),
        ).fetchall()


def replay(conn: psycopg.Connection, event_ids: Sequence[str]) -> int:
    """Make the events due again, as if they had just arrived. Returns how many."""
    return conn.execute(
        """
        update sync.events
        set status = 'pending', outcome = null, attempts = 0, next_attempt_at = now(), last_error = null, done_at = null
        where id = any(%s)
        """,
        (list(event_ids),),
    ).rowcount


def parked_ids(conn: psycopg.Connection) -> list[str]:
    """The ids of parked events, oldest first, without events that are held until their secret is judged."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            "select id from sync.events where status = 'parked' and outcome is distinct from 'held' order by created"
        ).fetchall()


def discard(conn: psycopg.Connection, event_ids: Sequence[str]) -> int:
    """Mark parked events done, with the outcome `discarded`. Returns how many."""
    return conn.execute(
        """
        update sync.events
        set status = 'done', outcome = 'discarded', done_at = now()
        where id = any(%s) and status = 'parked'
        """,
        (list(event_ids),),
    ).rowcount


def count_due(conn: psycopg.Connection, *, limit: int) -> int:
    """The number of due events, at most `limit`."""
    row = conn.execute(
        """
        select count(*) from (
            select 1 from sync.events where status = 'pending' and next_attempt_at <= now() limit %s
        ) as due
        """,
        (limit,),
    ).fetchone()
    return int(row[0]) if row else 0


def backlog(conn: psycopg.Connection) -> dict[str, Any]:
    """The numbers of pending and parked events, and the age of the oldest pending event in seconds (0 if none)."""
    with conn.cursor(row_factory=dict_row) as cursor:
        numbers = cursor.execute(
            """
            select
                (select count(*) from sync.events where status = 'pending') as pending,
                (select count(*) from sync.events where status = 'parked') as parked,
                (
                    select coalesce(extract(epoch from now() - min(received_at)), 0)::float8
                    from sync.events where status = 'pending'
                ) as oldest_pending_seconds
            """
        ).fetchone()
    return dict(numbers or {})
