"""What time alone does to users: tokens expire."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from worker.membership import sweep_expired

Apply = Callable[..., None]


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()


@pytest.fixture
def many(conn: psycopg.Connection) -> int:
    """Twelve hundred users whose balance is over, and one whose is not."""
    conn.execute(
        """
        insert into users (id, tokens, tokens_expires_at)
        select 'u' || n, n, now() - n * interval '1 minute' from generate_series(1, 1200) as n
        """
    )
    conn.execute("insert into users (id, tokens, tokens_expires_at) values ('fresh', 5, now() + interval '1 hour')")
    return 1200


def test_balances_whose_time_is_over_are_swept_with_a_row_each(conn: psycopg.Connection, many: int) -> None:
    swept = sweep_expired(conn, go_on=lambda: True)
    again = sweep_expired(conn, go_on=lambda: True)

    assert (swept, again) == (many, 0)
    assert rows(conn, "select id, tokens from users where tokens <> 0") == [("fresh", 5)]
    assert rows(conn, "select count(*), sum(balance_before - balance_after), sum(amount) from sync.token_grants") == [
        (many, many * (many + 1) // 2, -many * (many + 1) // 2)
    ]
    assert rows(
        conn,
        """
        select count(*) from sync.token_grants as g join users as u on u.id = g.user_id
        where g.source_key = 'expiry:' || u.id || ':' || floor(extract(epoch from u.tokens_expires_at))::bigint
        """,
    ) == [(many,)]


def test_a_sweep_goes_on_only_while_it_may(conn: psycopg.Connection, many: int) -> None:
    answers = iter([True, False])

    swept = sweep_expired(conn, go_on=lambda: next(answers), batch=100)

    assert swept == 100


def test_two_sweeps_at_once_do_not_wait_for_each_other_and_sweep_once(
    conn: psycopg.Connection, database: str, many: int
) -> None:
    swept: list[int] = []

    def sweep() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            swept.append(sweep_expired(own, go_on=lambda: True, batch=50))

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    swept.append(sweep_expired(conn, go_on=lambda: True))

    assert sum(swept) == many
    assert rows(conn, "select count(*) from sync.token_grants") == [(many,)]


def test_what_somebody_adds_to_a_swept_balance_without_moving_its_expiry_is_swept_too(
    conn: psycopg.Connection,
) -> None:
    conn.execute("insert into users (id, tokens, tokens_expires_at) values ('u', 7, now() - interval '1 day')")
    sweep_expired(conn, go_on=lambda: True)
    conn.execute("update users set tokens = tokens + 3")

    sweep_expired(conn, go_on=lambda: True)

    assert rows(conn, "select tokens from users") == [(0,)]
    assert rows(conn, "select balance_before from sync.token_grants order by id") == [(7,), (3,)]
