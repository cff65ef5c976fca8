"""`stripe-sync db seed`: create realistic data for development.

The sandbox plays stories, such as a sign-up or a renewal, and the events of the stories are applied. Mirror, ledger and
users therefore agree, and computing users again changes nothing. If STRIPE_API_BASE is a running
sandbox (`./run dev`), the stories are played there, so that the daemon can read the same objects. Otherwise a temporary
sandbox is started.
"""

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import scalar_row
from pydantic import SecretStr

import migrations
from worker.cli import database
from worker.cli.db import target
from worker.cli.dev import sandbox_environment
from worker.cli.output import fail, say, say_table
from worker.config.settings import Settings
from worker.inbox import store as inbox
from worker.jobs.process import applier_of
from worker.membership.compute import policy_of
from worker.postgres.pool import connect_as_owner
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.writers import refetch
from worker.writers.apply import compute_waiting

_KEY = "sk_test_sandbox"
# The stories begin this long ago, so that two months are paid and the third is current.
_OPENED = timedelta(days=75)
_WAIT_SECONDS, _PAUSE_SECONDS = 60, 0.2


@dataclass(frozen=True)
class _Person:
    """A user as the application created them."""

    id: str
    name: str
    organization: str | None = None
    role: str = "USER"
    verified: bool = True


_ORGANIZATIONS = {"seed_org_atelier": "Atelier Nord", "seed_org_harbour": "Harbour Analytics"}
_PEOPLE = (
    _Person("seed_mia", "Mia Lind", "seed_org_atelier"),
    _Person("seed_omar", "Omar Haddad", "seed_org_atelier"),
    _Person("seed_leo", "Leo Martin", "seed_org_harbour"),
    _Person("seed_tom", "Tom Becker", "seed_org_harbour"),
    _Person("seed_nina", "Nina Rossi"),
    _Person("seed_pia", "Pia Novak"),
    _Person("seed_ravi", "Ravi Shah"),
    _Person("seed_zoe", "Zoe Adams"),
    _Person("seed_ina", "Ina Weber", verified=False),
    _Person("seed_free", "Felix Free"),
    _Person("seed_admin", "Ada Admin", role="ADMIN"),
    _Person("seed_banned", "Bo Banned", role="BANNED"),
)
_DAY = 86_400
# The stories of the seed with their parameters, in order. A number sets the day, counted from the first story, for the
# stories that follow.
_PLAY: tuple[tuple[str, dict[str, Any]] | int, ...] = (
    ("sign_up", {"user_id": "seed_mia", "price": "pro_monthly"}),
    ("sign_up", {"user_id": "seed_leo", "price": "starter_monthly"}),
    ("renewal", {"user_id": "seed_mia"}),
    ("renewal", {"user_id": "seed_leo"}),
    ("sign_up", {"user_id": "seed_tom", "price": "starter_monthly"}),
    ("renewal", {"user_id": "seed_mia"}),
    ("cancel", {"user_id": "seed_leo", "when": "now"}),
    ("past_due", {"user_id": "seed_tom"}),
    66,
    ("yearly", {"user_id": "seed_omar"}),
    ("sign_up", {"user_id": "seed_zoe", "price": "starter_monthly"}),
    ("upgrade", {"user_id": "seed_zoe", "price": "pro_monthly"}),
    ("trial", {"user_id": "seed_nina"}),
    68,
    ("sign_up", {"user_id": "seed_pia", "price": "starter_monthly"}),
    ("pause", {"user_id": "seed_pia", "how": "status"}),
    ("sign_up", {"user_id": "seed_ravi", "price": "pro_monthly"}),
    ("refund", {"user_id": "seed_ravi"}),
    ("cancel", {"user_id": "seed_ravi", "when": "scheduled"}),
    70,
    ("token_pack", {"user_id": "seed_mia"}),
    ("incomplete", {"user_id": "seed_ina"}),
)


def run() -> None:
    """Fill a development database: organizations, users in every state, products, prices, subscriptions, payments."""
    settings = database.load_with_membership()
    target.refuse_production(settings, "seed")
    # Connect as the owner, because the seed creates users in place of the application.
    with connect_as_owner(settings, application="seed") as conn:
        target.announce(settings, conn)
        if target.known_revision(conn) != migrations.head():
            fail("the database is not at head: run `stripe-sync db migrate` first")
        if conn.execute("select from users where id like 'seed\\_%' limit 1").fetchone() is not None:
            fail("the database was seeded before: `stripe-sync db reset` empties it")
        with _sandbox(settings) as base:
            _sign_up(conn)
            try:
                bodies = _played(base)
            except BaseException:
                _take_back(conn)
                raise
            key = settings.stripe_secret_key or SecretStr(_KEY)
            _apply(conn, settings.model_copy(update={"stripe_api_base": base, "stripe_secret_key": key}), bodies)
        _show(conn)


@contextlib.contextmanager
def _sandbox(settings: Settings) -> Iterator[str]:
    """The sandbox in which the stories are played."""
    base = settings.stripe_api_base
    if settings.stripe_secret_key is not None:
        if not _is_sandbox(base):
            fail(
                "STRIPE_SECRET_KEY is set, and STRIPE_API_BASE is not a running sandbox: the daemon would not find the seeded "
                "objects at Stripe. Unset the key, or seed the database of `./run dev`. Nothing was changed."
            )
        yield base
        return
    command, environment = [sys.executable, "-m", "sandbox", "--port", "0"], sandbox_environment("db seed")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _is_sandbox(base: str) -> bool:
    host = urllib.parse.urlsplit(base).hostname or ""
    if host not in ("127.0.0.1", "::1", "localhost"):
        return False
    try:
        return "stories" in _get(f"{base}/_sandbox")
    except (OSError, ValueError):
        return False


def _sign_up(conn: psycopg.Connection) -> None:
    """The rows that the application itself writes."""
    with conn.transaction(), conn.cursor() as cursor:
        cursor.executemany("insert into organizations (id, name) values (%s, %s)", list(_ORGANIZATIONS.items()))
        cursor.executemany(
            """
            insert into users (id, email, name, organization_id, role, email_verified)
            values (%s, %s, %s, %s, %s, case when %s then now() end)
            """,
            [(one.id, f"{one.id}@example.com", one.name, one.organization, one.role, one.verified) for one in _PEOPLE],
        )
        cursor.execute(
            """
            insert into accounts (user_id, type, provider, provider_account_id)
            values ('seed_mia', 'oidc', 'google', 'seed_mia')
            """
        )


def _take_back(conn: psycopg.Connection) -> None:
    with conn.transaction():
        conn.execute("delete from users where id = any(%s)", ([one.id for one in _PEOPLE],))
        conn.execute("delete from organizations where id = any(%s)", (list(_ORGANIZATIONS),))


def _played(base: str) -> list[str]:
    """The JSON of the events of all stories. Afterwards the sandbox's clock shows the real time again."""
    opened = int((datetime.now(UTC) - _OPENED).timestamp())
    named = {one.id: {"email": f"{one.id}@example.com", "name": one.name} for one in _PEOPLE}
    bodies: list[str] = []
    _post(base, "clock", {"now": opened})
    try:
        for step in _PLAY:
            if isinstance(step, int):
                _post(base, "clock", {"now": opened + step * _DAY})
                continue
            story, parameters = step
            more = named[parameters["user_id"]] if story == "sign_up" else {}
            result = _post(base, f"stories/{story}", parameters | more)
            # Read now, because the sandbox, like Stripe, lists events for 30 days.
            bodies += [json.dumps(_get(f"{base}/v1/events/{event['id']}")) for event in result["events"]]
    finally:
        _post(base, "clock", {"real": True})
    return bodies


def _apply(conn: psycopg.Connection, settings: Settings, bodies: list[str]) -> None:
    """Store and apply the events as `web` and `worker` do, and re-read uncertain objects.

    If workers are running, they may apply some of the events.
    """
    envelopes = {envelope.id: envelope for envelope in map(read_envelope, bodies)}
    inbox.store(conn, list(envelopes.values()))
    stripe, policy = Stripe.from_settings(settings), policy_of(settings)
    deadline = time.monotonic() + _WAIT_SECONDS
    try:
        while True:
            applier_of(settings).drain(conn)
            refetch.drain(conn, stripe, policy, should_continue=lambda: time.monotonic() < deadline)
            computed = compute_waiting(conn, policy)
            waiting = conn.execute(
                "select count(*) from sync.events where id = any(%s) and status <> 'done'", (list(envelopes),)
            ).fetchone()
            asked_for = conn.execute("select count(*) from sync.refetch_queue").fetchone()
            if waiting == asked_for == (0,) and computed:
                return
            if time.monotonic() > deadline:
                fail(f"some events are not applied after {_WAIT_SECONDS} s: see `stripe-sync status`")
            time.sleep(_PAUSE_SECONDS)
    finally:
        stripe.close()


def _show(conn: psycopg.Connection) -> None:
    columns = ("id", "role", "membership_status", "product", "tokens", "subscription")
    rows = conn.execute(
        """
        select u.id, u.role::text, u.membership_status::text, p.name, u.tokens, s.status
        from users as u
        left join stripe_products as p on p.id = u.stripe_product_id
        left join lateral (
            select status from user_subscriptions where user_id = u.id order by created_at desc limit 1
        ) as s on true
        where u.id like 'seed\\_%'
        order by u.id
        """
    ).fetchall()
    say_table(columns, (dict(zip(columns, row, strict=True)) for row in rows))
    with conn.cursor(row_factory=scalar_row) as cursor:
        payments = cursor.execute("select count(*) from payment_history where user_id like 'seed\\_%'").fetchone()
    say(
        f"{len(rows)} users, {len(_ORGANIZATIONS)} organizations, {payments} payments. `stripe-sync db reset` empties it."
    )


def _post(base: str, path: str, body: dict[str, Any]) -> Any:
    return _send(f"{base}/_sandbox/{path}", json.dumps(body).encode())


def _get(url: str) -> Any:
    return _send(url, None)


def _send(url: str, body: bytes | None) -> Any:
    request = urllib.request.Request(url, body, {"authorization": f"Bearer {_KEY}"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        return json.load(answer)
