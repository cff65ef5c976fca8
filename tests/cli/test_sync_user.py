"""`stripe-sync sync user`, as an operator runs it for a user who paid and has no access yet."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests import sandboxes
from tests.backends import Backend
from tests.sandboxes import Sandbox

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandboxes.running() as running:
        yield running


@pytest.fixture
def run(backend: Backend, database: str, sandbox: Sandbox) -> Run:
    env = {
        "DATABASE_URL": database,
        "REDIS_URL": backend.redis_url,
        "APP_ENV": "test",
        "STRIPE_SECRET_KEY": sandboxes.KEY,
        "STRIPE_API_BASE": sandbox.address,
    }

    def command(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "worker", "sync", "user", *words],
            env=env | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


def test_a_lost_change_is_read_and_reported(run: Run, conn: psycopg.Connection, sandbox: Sandbox) -> None:
    conn.execute("insert into users (id, email) values ('jenny', 'Jenny@example.com')")
    ids = sandbox.tell("stories/sign_up", user_id="jenny", link="session")["ids"]

    unknown = run("jenny")
    named = run("jenny@example.com", "--checkout-session", ids["checkout_session"])
    again = run("jenny", "--json")

    assert unknown.returncode == 0, unknown.stderr
    assert "--checkout-session" in unknown.stdout
    assert named.returncode == 0, named.stderr
    assert f"jenny is PREMIUM and ACTIVE, through Pro ({ids['product']})" in named.stdout
    assert "5,000 tokens until" in named.stdout
    assert "1 listed, 1 written" in named.stdout
    answer = json.loads(again.stdout)
    assert (answer["user"], answer["customers"], answer["has_access"], answer["stale"]) == (
        "jenny",
        [ids["customer"]],
        True,
        False,
    )
    assert (answer["listed"], answer["unchanged"]) == (1, 1)


def test_a_user_who_cannot_be_read_is_reported_in_one_line(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('john')")

    for words, changes, says in (
        (["who"], {}, "no user who"),
        (["\udcff"], {}, "the argument '\\udcff' is not valid UTF-8"),
        (["john"], {"STRIPE_SECRET_KEY": ""}, "STRIPE_SECRET_KEY is not set"),
        (["john", "--checkout-session", "cs_test_nothing"], {}, "no Checkout session cs_test_nothing"),
        (["john", "--checkout-session", "../../customers/cus_1"], {}, "is not the id of a Checkout session, cs_..."),
    ):
        done = run(*words, **changes)

        assert done.returncode == 1
        assert says in done.stderr
