"""The function that spends tokens for the application is exact, even with concurrent writers."""

import random
import threading
from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors

SPENDERS = 50


@pytest.fixture
def holding(conn: psycopg.Connection) -> Callable[..., None]:
    """Give the user `u` a balance."""

    def make(tokens: int, *, expires: str | None = "1 hour") -> None:
        conn.execute(
            """
            insert into users (id, tokens, tokens_expires_at) values ('u', %s, now() + %s::interval)
            on conflict (id) do update set tokens = excluded.tokens, tokens_expires_at = excluded.tokens_expires_at
            """,
            (tokens, expires),
        )

    return make


def answer(conn: psycopg.Connection, query: str) -> object:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("tokens", "expires", "balance"),
    [(7, "1 hour", 7), (7, None, 7), (7, "-1 second", 0), (0, None, 0)],
)
def test_an_expired_balance_reads_as_zero(
    conn: psycopg.Connection, holding: Callable[..., None], tokens: int, expires: str | None, balance: int
) -> None:
    holding(tokens, expires=expires)

    assert answer(conn, "select token_balance('u')") == balance


@pytest.mark.parametrize(
    ("n", "expires", "spent", "left"),
    [(3, "1 hour", True, 4), (7, None, True, 0), (8, None, False, 7), (1, "-1 second", False, 7)],
)
def test_spending_takes_the_whole_amount_or_nothing(
    conn: psycopg.Connection, holding: Callable[..., None], n: int, expires: str | None, spent: bool, left: int
) -> None:
    holding(7, expires=expires)

    assert answer(conn, f"select consume_tokens('u', {n})") is spent
    assert answer(conn, "select tokens from users") == left


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ("consume_tokens('u', 0)", errors.InvalidParameterValue, "n: must be more than 0, and is 0"),
        ("consume_tokens('u', -5)", errors.InvalidParameterValue, "n: must be more than 0, and is -5"),
        ("consume_tokens('u', null)", errors.InvalidParameterValue, "n: must be more than 0, and is null"),
        ("consume_tokens('nobody', 1)", errors.NoDataFound, "user_id: there is no user 'nobody'"),
        ("consume_tokens(null, 1)", errors.NoDataFound, "user_id: there is no user null"),
        ("token_balance('nobody')", errors.NoDataFound, "user_id: there is no user 'nobody'"),
        ("token_balance(null)", errors.NoDataFound, "user_id: there is no user null"),
    ],
)
def test_an_invalid_argument_is_named_in_the_error(
    conn: psycopg.Connection, holding: Callable[..., None], call: str, error: type[Exception], says: str
) -> None:
    holding(7)

    with pytest.raises(error, match=says):
        conn.execute(f"select {call}")

    assert answer(conn, "select tokens from users") == 7


def test_fifty_concurrent_spenders_with_grants_and_expiry_keep_the_balance_exact(
    conn: psycopg.Connection, database: str, holding: Callable[..., None]
) -> None:
    holding(1000)
    spent: list[int] = []
    granted: list[int] = [1000]
    swept: list[int] = []
    go = threading.Barrier(SPENDERS + 2)

    def spend(seed: int) -> None:
        chance = random.Random(seed)
        with psycopg.connect(database, autocommit=True) as own:
            go.wait()
            for _ in range(20):
                n = chance.randint(1, 9)
                if answer(own, f"select consume_tokens('u', {n})"):
                    spent.append(n)

    def write(seed: int, *, grants: bool) -> None:
        """Write the balance as the daemon does: lock the row, read it, and write it."""
        with psycopg.connect(database, autocommit=True) as own:
            go.wait()
            for number in range(20):
                with own.transaction():
                    left = answer(own, "select tokens from users where id = 'u' for no key update")
                    assert isinstance(left, int)
                    after = left + 100 if grants else 0 if number % 4 == 0 else left
                    granted.append(100 if grants else 0)
                    swept.append(left - after if after == 0 else 0)
                    own.execute("update users set tokens = %s, tokens_expires_at = now() + '1 h'::interval", (after,))

    threads = [threading.Thread(target=spend, args=(seed,)) for seed in range(SPENDERS)]
    threads += [threading.Thread(target=write, args=(seed,), kwargs={"grants": seed == 0}) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(granted) == 41
    assert answer(conn, "select tokens from users") == sum(granted) - sum(spent) - sum(swept)
