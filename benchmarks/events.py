"""Signed deliveries: an event around an object, indented as Stripe sends it, and the bytes of its HTTP request."""

import hmac
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from benchmarks import objects

SECRET = "whsec_benchmark"
AFTER_BIRTH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event to send: its body, and the object that it shows."""

    id: str
    object_type: str
    object_id: str
    body: bytes


def mixed(count: int, *, first: int, linked: bool = False) -> list[Delivery]:
    """Updates of customers, invoices and subscriptions, a third each, beginning with number `first`. Each is of a different
    object."""
    made = []
    for number in range(first, first + count):
        member = number // 3
        previous: dict[str, Any]
        if number % 3 == 0:
            obj, previous = objects.customer(member, linked=linked), {"phone": None, "preferred_locales": []}
            type_ = "customer.updated"
        elif number % 3 == 1:
            obj, previous = objects.subscription(member), {"latest_invoice": None, "metadata": {"source": None}}
            type_ = "customer.subscription.updated"
        else:
            obj, previous = objects.invoice(member), {"webhooks_delivered_at": None, "attempted": False}
            type_ = "invoice.updated"
        created = objects.BORN + AFTER_BIRTH_SECONDS
        made.append(_delivery(f"evt_{number:024d}", type_, obj, previous, created=created))
    return made


def updates(count: int, *, first: int, turns: int = 2) -> list[Delivery]:
    """Later updates of the objects of `mixed(count // turns, first=first, linked=True)`. Each turn updates all of them.

    Nine of ten updates change only fields that do not affect users: an address, a payment method, a footer. The tenth
    changes an e-mail, a cancellation or the time of a payment.
    """
    made = []
    for turn in range(1, turns + 1):
        for number in range(first, first + count // turns):
            member, matters = number // 3, (number // 3 + turn) % 10 == 0
            created = objects.BORN + AFTER_BIRTH_SECONDS * (turn + 1)
            previous: dict[str, Any]
            if number % 3 == 0:
                obj, type_ = objects.customer(member, linked=True), "customer.updated"
                previous = {"email": obj["email"]} if matters else {"phone": obj["phone"]}
                obj |= {"email": f"new-{turn}-{member}@example.com"} if matters else {"phone": f"+1415555{turn:04}"}
            elif number % 3 == 1:
                obj, type_ = objects.subscription(member), "customer.subscription.updated"
                previous = {"cancel_at_period_end": False} if matters else {"default_payment_method": None}
                obj |= {"cancel_at_period_end": True} if matters else {"default_payment_method": f"pm_{turn}_{member}"}
            else:
                obj, type_ = objects.invoice(member), "invoice.updated"
                moved = {**obj["status_transitions"], "paid_at": objects.BORN + turn}
                previous = {"status_transitions": {"paid_at": objects.BORN}} if matters else {"footer": None}
                obj |= {"status_transitions": moved} if matters else {"footer": f"Note {turn}"}
            made.append(_delivery(f"evt_again{turn}{number:018d}", type_, obj, previous, created=created))
    return made


def add_users(conn: psycopg.Connection[Any], count: int, *, first: int) -> None:
    """Insert the users whom the linked customers of `mixed` name."""
    conn.execute(
        "insert into users (id, email) select 'user-' || n, 'user-' || n || '@example.com' "
        "from generate_series(%s::bigint, %s::bigint) as n on conflict do nothing",
        (first // 3, (first + count) // 3 + 1),
    )


def small(count: int, *, first: int, among: int) -> Iterator[Delivery]:
    """Customer updates of half a kilobyte, for `among` customers in turn. Each update is clearly later than the one before."""
    for number in range(first, first + count):
        turn, member = divmod(number, among)
        obj = {
            "id": f"cus_small{number % among:09d}",
            "object": "customer",
            "created": objects.BORN,
            "balance": turn,
            "email": f"small-{member}@example.com",
            "livemode": False,
            "metadata": {},
        }
        created = objects.BORN + AFTER_BIRTH_SECONDS * (turn + 1)
        yield _delivery(f"evt_small{number:020d}", "customer.updated", obj, {"balance": turn - 1}, created=created)


def around(type_: str, obj: dict[str, Any]) -> Delivery:
    """An event of an object, which has no other event of this type."""
    return _delivery(f"evt_{type_}_{obj['id']}", type_, obj, {}, created=objects.BORN)


def shown(objs: Iterable[dict[str, Any]], *, created: int) -> list[Delivery]:
    """An update for each of these objects of the sandbox. It contains the object as the list shows it."""
    types = {
        "customer": "customer.updated",
        "subscription": "customer.subscription.updated",
        "invoice": "invoice.updated",
    }
    return [
        _delivery(f"evt_{created}{obj['id']}", types[obj["object"]], obj, {"metadata": {"seen": "no"}}, created=created)
        for obj in objs
    ]


def requests(sent: Iterable[Delivery], *, port: int) -> Iterator[bytes]:
    """A POST request for each delivery, with keep-alive. It is signed when the iterator reaches it."""
    key = SECRET.encode()
    for delivery in sent:
        second = b"%d" % int(time.time())
        signature = hmac.digest(key, second + b"." + delivery.body, "sha256").hex().encode()
        yield b"".join(
            (
                b"POST /webhooks/stripe HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % port,
                b"content-type: application/json; charset=utf-8\r\nuser-agent: Stripe/1.0\r\naccept: */*\r\n",
                b"stripe-signature: t=%b,v1=%b\r\ncontent-length: %d\r\n\r\n" % (second, signature, len(delivery.body)),
                delivery.body,
            )
        )


def _delivery(id_: str, type_: str, obj: dict[str, Any], previous: dict[str, Any], *, created: int) -> Delivery:
    event = {
        "id": id_,
        "object": "event",
        "api_version": objects.API_VERSION,
        "created": created,
        "data": {"object": obj, "previous_attributes": previous},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type_,
    }
    return Delivery(id_, obj["object"], obj["id"], json.dumps(event, indent=2).encode())
