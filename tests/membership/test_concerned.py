"""A user's access and tokens are computed only if a field that they depend on has changed. The result is the same as if every
event caused a computation.
"""

import copy
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from schema import mirror
from tests.factories import (
    DAY,
    Json,
    charge,
    checkout_session,
    customer,
    dispute,
    event,
    invoice,
    invoice_payment,
    payment_intent,
    payment_method,
    product,
    refund,
    subscription,
)
from tests.membership import mutations
from tests.membership.situations import changes, purchases, starts
from tests.model import drawing
from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.store import links
from worker.mirror.fold import Outcome, fold, observe
from worker.mirror.registry import TYPES
from worker.mirror.version import DELETED_HASH
from worker.observe import metrics
from worker.stripe_api.event import ObjectRef, read_event

Apply = Callable[..., None]
# More lives by hand: TEST_LIVES=5000 ./run pytest tests/membership/test_concerned.py
LIVES = int(os.environ.get("TEST_LIVES", "200"))
A_TEST = 25
SITUATIONS = (*changes.SITUATIONS, *starts.SITUATIONS, *purchases.SITUATIONS)
NOW = 1_790_000_000
# Mutations keep these fields. Stripe never moves an object to another user. If it did, the previous user would not be computed.
_NAMES_OTHERS = ("customer", "client_reference_id", "payment_intent", "charge", "invoice", "payment", "payment_link")
# These objects affect users through a queue that a job processes.
_CATALOGUE = ("product", "price", "plan", "product_feature")


def _life(chosen: random.Random) -> tuple[list[Json], Policy]:
    """Draw the events of a life, with later versions of its objects that change relevant or irrelevant fields."""
    if chosen.random() < 0.5:
        phases: Sequence[Any] = drawing.events_of(drawing.draw(chosen))
        policy = Policy(token_ttl=timedelta(days=60), tokens_reset=chosen.random() < 0.5)
    else:
        situation = chosen.choice(SITUATIONS)
        phases, policy = situation.phases, situation.policy
    events = [event for phase in phases if not isinstance(phase, int) for event in phase]
    shown = [event for event in events if event["data"]["object"]["object"] not in _CATALOGUE]
    for number in range(len(shown)):
        later = copy.deepcopy(chosen.choice(shown))
        later |= {"id": f"evt_later{number:04}", "created": later["created"] + chosen.choice((1, 60, 3600, 7200))}
        later["type"] = later["type"].replace(".created", ".updated")
        later["data"].pop("previous_attributes", None)
        if chosen.random() < 0.5:
            later["data"]["object"]["note"] = number
        else:
            kept = {name: value for name, value in later["data"]["object"].items() if name in _NAMES_OTHERS}
            lines = copy.deepcopy(later["data"]["object"].get("lines"))
            (later,), _ = mutations.mutate([later], chosen, chosen.choice((1, 1, 2)))
            later["data"]["object"] |= kept
            _keep_periods(later["data"]["object"], lines)
        events.append(later)
    if chosen.random() < 0.5:
        chosen.shuffle(events)
    # The catalogue comes first. A job computes the users after a later change of the catalogue, and no job runs here.
    events.sort(key=lambda event: event["data"]["object"]["object"] not in _CATALOGUE)
    return events, policy


def _keep_periods(invoice: Json, lines: Any) -> None:
    """Keep the periods of an invoice's lines: a line bills one period, and Stripe never moves it to another."""
    kept = {line["id"]: line["period"] for line in (lines or {}).get("data", ()) if "period" in line}
    shown = invoice.get("lines")
    for line in shown.get("data") or () if isinstance(shown, dict) else ():
        if isinstance(line, dict) and isinstance(line.get("id"), str) and line["id"] in kept:
            line["period"] = kept[line["id"]]


def _found(conn: psycopg.Connection) -> list[list[tuple[Any, ...]]]:
    """Everything that is computed, except the times of the computation."""
    queries = (
        "select id, role, membership_status, stripe_product_id, tokens, tokens_expires_at from users order by id",
        "select source_key, amount, balance_after, expires_at, lots, money, kind from sync.token_grants order by id",
        "select stripe_subscription_id, status, stripe_product_id, stripe_price_id, current_period_start,"
        " current_period_end, cancel_at_period_end, canceled_at, trial_start, trial_end, metadata"
        " from user_subscriptions order by 1",
        "select stripe_payment_intent_id, amount, currency, status, stripe_product_id, description, metadata"
        " from payment_history order by 1",
        "select stripe_customer_id, user_id from sync.customer_links order by 1",
        "select user_id, feature, source, until from user_features order by 1, 2",
        "select user_id, date_trunc('hour', due_at + interval '30 minutes') from sync.next_changes order by 1",
        "select type, before, after, reason from sync.change_drafts order by id",
    )
    return [conn.execute(query).fetchall() for query in queries]


def _play(conn: psycopg.Connection, apply: Apply, seed: str, *, always: bool) -> list[list[tuple[Any, ...]]]:
    """Play a life, and return the computed state. With `always`, the user is computed after each batch."""
    chosen = random.Random(seed)
    events, policy = _life(chosen)
    conn.execute("insert into users (id) values ('jenny')")
    while events:
        size = chosen.choice((1, 2, 5, 50))
        batch, events = events[:size], events[size:]
        apply(*batch, policy=policy)
        if always:
            with conn.transaction():
                compute.compute(conn, ["jenny"], policy)
    return _found(conn)


@pytest.mark.parametrize("number", range(LIVES // A_TEST))
def test_a_simulated_life_ends_as_if_the_user_were_always_computed(
    conn: psycopg.Connection, apply: Apply, number: int
) -> None:
    saved = _count("unchanged")
    for each in range(A_TEST):
        seed = f"{number} {each}"
        with conn.transaction(force_rollback=True):
            seen = _play(conn, apply, seed, always=False)
        with conn.transaction(force_rollback=True):
            wanted = _play(conn, apply, seed, always=True)
        assert seen == wanted, seed

    assert _count("unchanged") > saved


def _count(outcome: str) -> float:
    return float(metrics.USERS.labels(outcome)._value.get())


@pytest.fixture
def jenny(conn: psycopg.Connection, apply: Apply) -> None:
    """A paying user whose role was then changed by hand. A computation would restore the role, and so become visible."""
    conn.execute("insert into users (id) values ('jenny')")
    shown = (product(), customer(user_id="jenny"), *_OBJECTS.values())
    apply(*(event(f"{each['object']}.created", each, created=NOW) for each in shown))
    assert _role(conn) == "PREMIUM"
    conn.execute("update users set role = 'USER'")


_OBJECTS = {
    "subscription": subscription(),
    "invoice": invoice(),
    "payment_intent": payment_intent(),
    "checkout.session": checkout_session(),
    "charge": charge(),
    "payment_method": payment_method(),
    "refund": refund(),
    "dispute": dispute(),
    "invoice_payment": invoice_payment(),
}


def _role(conn: psycopg.Connection) -> str:
    row = conn.execute("select role::text from users where id = 'jenny'").fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    ("type_", "changed"),
    [
        ("subscription", {"default_payment_method": "pm_new"}),
        ("invoice", {"footer": "Thank you."}),
        ("payment_intent", {"next_action": {"type": "use_stripe_sdk"}}),
        ("charge", {"receipt_email": "jenny@example.com"}),
        ("payment_method", {"card": {"brand": "visa", "last4": "1111"}}),
        ("refund", {"receipt_number": "1"}),
        ("dispute", {"evidence_details": {"due_by": NOW}}),
    ],
)
def test_changes_of_other_fields_compute_no_user(
    conn: psycopg.Connection, apply: Apply, jenny: None, type_: str, changed: Json
) -> None:
    computed = _count("computed")

    apply(event(f"{type_}.updated", _OBJECTS[type_] | changed, created=NOW + DAY))

    assert (_role(conn), _count("computed")) == ("USER", computed)


def _after(shown: Json, **changed: Any) -> Outcome:
    """Fold an event of the object, then a later event in which these fields changed; returns the outcome of the later one."""
    first, later = (
        observe(read_event(event(f"{shown['object']}.updated", obj, created=created)))
        for obj, created in ((shown, NOW), (shown | changed, NOW + DAY))
    )
    assert first is not None
    assert later is not None
    (before,) = fold([first], {})
    (after,) = fold([later], {first.key: before.version} if before.version else {})
    return after


@pytest.mark.parametrize("shown", _OBJECTS.values(), ids=_OBJECTS)
def test_only_the_deciding_fields_of_an_object_cause_a_computation(shown: Json) -> None:
    # `test_clock` is left out, because it makes an object unsettled.
    fields = {*shown, *TYPES[shown["object"]].deciding} - {"id", "object", "test_clock"}

    moving = {field for field in fields if _after(shown, **{field: {"another": "value"}}).moves_users}

    # The changed `created` is not a time. Any change of an object without a date causes a computation, so `created` counts too.
    assert moving == TYPES[shown["object"]].deciding | ({"created"} if TYPES[shown["object"]].decides_users else set())


def test_deleting_settling_or_completing_an_object_causes_a_computation() -> None:
    key, version = _after(subscription()).key, _after(subscription()).version
    assert version is not None
    same = Outcome(key, version, replace(version, rev=9), subscription())

    assert not same.moves_users
    assert replace(same, completed=True).moves_users
    assert replace(same, before=replace(version, unsettled=True), object=None).moves_users
    assert replace(same, version=replace(version, content_hash=DELETED_HASH)).moves_users
    assert replace(same, before=None).moves_users


# Columns that may be read although no `deciding` field fills them: key, times, and whether a row is deleted or unsettled.
_ALWAYS = {"id", "account", "deleted", "unsettled", "created", "observed_at"}


class _Recorder(dict[str, Any]):
    """An object that records which of its fields are read."""

    def __init__(self) -> None:
        self.fields: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.fields.add(name)
        return default


def _readable(table: str) -> set[str]:
    """The columns of a table that may be read when a user is computed: _ALWAYS, and those that `deciding` fields fill."""
    types = [type_ for type_ in TYPES.values() if type_.table.name == table]
    if not types or types[0].name in _CATALOGUE:
        return set(mirror.tables[table].columns)
    (type_,) = types
    columns = set(_ALWAYS)
    for column in type_.columns:
        recorder = _Recorder()
        column.read(recorder)
        if recorder.fields <= type_.deciding:
            columns.add(column.name)
    return columns | ({"data"} if type_.deciding else set())


@pytest.fixture
def narrow(conn: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A connection that can switch to a role. Of the mirror's columns this role may select only those of `_readable`."""
    role = sql.Identifier(f"narrow_{os.getpid()}")
    with conn.transaction(force_rollback=True):
        conn.execute(sql.SQL("create role {}").format(role))
        for schema in ("public", "sync"):
            conn.execute(sql.SQL("grant all on schema {} to {}").format(sql.Identifier(schema), role))
            for kind in ("tables", "sequences", "functions"):
                conn.execute(
                    sql.SQL("grant all on all " + kind + " in schema {} to {}").format(sql.Identifier(schema), role)
                )
        conn.execute(sql.SQL("grant usage on schema mirror to {}").format(role))
        for table in mirror.tables:
            columns = sql.SQL(", ").join(map(sql.Identifier, sorted(_readable(table))))
            conn.execute(sql.SQL("grant select ({}) on mirror.{} to {}").format(columns, sql.Identifier(table), role))
        yield conn


@pytest.mark.parametrize("number", range(3))
def test_users_are_computed_from_deciding_fields_only(narrow: psycopg.Connection, apply: Apply, number: int) -> None:
    _play(narrow, apply, f"narrow {number}", always=False)
    narrow.execute("update users set role = 'USER', organization_id = null")
    narrow.execute(sql.SQL("set local role {}").format(sql.Identifier(f"narrow_{os.getpid()}")))

    compute.compute(narrow, ["jenny"], Policy())
    refs = [ObjectRef(type_, f"x_{type_}") for type_ in ("invoice", *links.SHOW_MONEY_BACK)]
    behind = links.customers_of(narrow, refs), links.guests(narrow, ["x_session"], refs)

    assert behind == ((set(), set(refs)), set())
