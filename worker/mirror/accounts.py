"""The known connected accounts, and how far each was read (`sync.accounts`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

LEASE_SECONDS = 180
# The newest event is recorded at most this often, because each write costs a row version.
NOTED_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Account:
    """A connected account that is leased to us. Its events were read up to `events_until` (unix seconds)."""

    id: str
    events_until: int | None
    rounds: int


def note_events(conn: psycopg.Connection, newest: Mapping[str, float]) -> None:
    """Record when the newest event of each account was created (unix seconds).

    An account that is not known yet is added as connected.
    """
    conn.execute(
        """
        insert into sync.accounts as a (id, last_event_at)
        select id, to_timestamp(created) from unnest(%b::text[], %b::float8[]) as n (id, created) order by id
        on conflict (id) do update set last_event_at = excluded.last_event_at
        where a.last_event_at is null or excluded.last_event_at > a.last_event_at + make_interval(secs => %s)
        """,
        (sorted(newest), [newest[id_] for id_ in sorted(newest)], NOTED_SECONDS),
    )


def connect(conn: psycopg.Connection, ids: Sequence[str]) -> None:
    """Record that these accounts are connected, because Stripe lists them or an event says so."""
    conn.execute(
        """
        insert into sync.accounts as a (id) select unnest(%b::text[]) as id order by id
        on conflict (id) do update set status = 'connected', error = null where a.status <> 'connected'
        """,
        (list(ids),),
    )


def deauthorize(conn: psycopg.Connection, id_: str) -> None:
    """Record that the account has disconnected. It is no longer read, and its mirrored rows stay."""
    with conn.transaction():
        conn.execute(
            """
            insert into sync.accounts (id, status) values (%s, 'deauthorized')
            on conflict (id) do update set status = 'deauthorized', leased_until = null
            """,
            (id_,),
        )
        conn.execute("delete from sync.refetch_queue where account = %s", (id_,))


def lease(conn: psycopg.Connection, *, limit: int, pause: float) -> list[Account]:
    """Lease up to `limit` accounts, the longest unread first. Accounts read in the last `pause` seconds are left
    out."""
    with conn.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(
            """
            update sync.accounts as a set leased_until = now() + make_interval(secs => %s)
            from (
                select id from sync.accounts
                where status = 'connected' and (leased_until is null or leased_until < now())
                    and (last_pass_at is null or last_pass_at < now() - make_interval(secs => %s))
                order by last_pass_at nulls first, id
                limit %s
                for update skip locked
            ) as turn
            where a.id = turn.id
            returning a.id, a.events_until, a.rounds
            """,
            (LEASE_SECONDS, pause, limit),
        ).fetchall()


def done(
    conn: psycopg.Connection, id_: str, *, events_until: int | None, rounds: int = 0, error: str | None = None
) -> None:
    """Record the end of an account's turn.

    `events_until` stays as it is if None is given. `rounds` is the number of rounds finished in this turn.
    """
    conn.execute(
        """
        update sync.accounts
        set last_pass_at = now(), leased_until = null, events_until = coalesce(%s, events_until), rounds = rounds + %s,
            error = %s
        where id = %s
        """,
        (events_until, rounds, error, id_),
    )


def rows(conn: psycopg.Connection, *, limit: int = 1000) -> list[dict[str, Any]]:
    """The accounts, the longest unread first: status, newest event, last pass, lag in seconds, error."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select id, status, to_json(last_event_at) as last_event_at, to_json(last_pass_at) as last_pass_at, rounds, error,
                case when status = 'connected' then extract(epoch from now())::bigint - events_until end as lag_seconds
            from sync.accounts
            order by accounts.status, accounts.last_pass_at nulls first, id
            limit %s
            """,
            (limit,),
        ).fetchall()


def summary(conn: psycopg.Connection) -> dict[str, Any]:
    """The numbers of accounts that are connected, deauthorized, failing and unread, and the start of the longest
    wait."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            select count(*) filter (where status = 'connected') as connected,
                count(*) filter (where status = 'deauthorized') as deauthorized,
                count(*) filter (where status = 'connected' and error is not null) as failing,
                count(*) filter (where status = 'connected' and rounds = 0) as unread,
                min(coalesce(last_pass_at, since)) filter (where status = 'connected') as waiting_since
            from sync.accounts
            """
        ).fetchone()
    assert row is not None
    waiting: datetime | None = row.pop("waiting_since")
    return row | {"waiting_since": waiting.isoformat() if waiting is not None else None}
