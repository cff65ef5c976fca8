"""Helpers for tests that read objects again: events that leave an object unsettled, and fake Stripe clients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests import factories
from tests.factories import Json, encoded, event
from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.writers import refetch
from worker.writers.apply import Applier

YEAR = 365 * factories.DAY


def deliver(conn: psycopg.Connection, *events: Json, has_key: bool = True) -> None:
    """Store the events as the webhook endpoint does, and drain the inbox."""
    inbox.store(conn, [read_envelope(encoded(event).decode()) for event in events])
    Applier(livemode=False, policy=Policy(), has_key=has_key).drain(conn)


def read_queued(conn: psycopg.Connection, stripe: refetch.Source) -> int:
    """Read all queued objects now, and return their number."""
    conn.execute("update sync.refetch_queue set due_at = now()")
    return refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()


def held(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return rows(conn, "select name, deleted, unsettled from stripe.customers")


def waiting(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    """The type and id of each queued read, and whether it is due later."""
    return rows(conn, "select object, id, due_at > now() from sync.refetch_queue")


def outcomes(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in rows(conn, "select outcome from sync.events order by received_at, id")]


def unsettled_customer(conn: psycopg.Connection, sandbox: Sandbox, *, name: str = "Second") -> Json:
    """Create a customer with an unsettled row: two states of the same second were delivered, and neither is the current one."""
    made: Json = sandbox.post("/v1/customers", name=name)
    seen = [{**made, "name": "This"}, {**made, "name": "That"}]
    deliver(conn, *(event("customer.updated", state, created=made["created"]) for state in seen))
    return made


def later(sandbox: Sandbox, seconds: int = 20) -> None:
    """Advance Stripe's clock until every replica has caught up."""
    sandbox.tell("clock", advance=seconds)


@dataclass
class Canned:
    """A Stripe client that always returns the same answer, or fails, and records the requests."""

    answer: Answer | Exception
    asked: list[str] = field(default_factory=list)

    def retrieve(self, path: str, *, account: str = "") -> Answer:
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        raise AssertionError(f"unexpected read of {path}")


@dataclass
class Meanwhile:
    """A Stripe client that calls `happens` after Stripe has sent the first answer, and then returns that answer."""

    stripe: Stripe
    happens: Callable[[], None]
    happened: bool = False

    def retrieve(self, path: str, *, account: str = "") -> Answer:
        answer = self.stripe.retrieve(path, account=account)
        if not self.happened:
            self.happened = True
            self.happens()
        return answer

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        return self.stripe.page(path, params, account=account)


def answered(obj: Json, *, read_at: int) -> Answer:
    return Answer(obj, deleted=False, missing=False, read_at=read_at)
