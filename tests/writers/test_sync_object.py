"""The operator's tools for one object: read it from Stripe, show its history, and try an event in a dry run."""

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from tests import factories
from tests.factories import NOW, Json
from tests.writers.refetching import Canned, answered, deliver
from worker.membership.rules.access import Policy
from worker.mirror import history
from worker.mirror.history import Difference
from worker.stripe_api.answers import Answer
from worker.writers import dry_run
from worker.writers.sync_object import CannotRead, NotThere, Synced, UnknownType, sync_object

GONE = Answer(None, deleted=True, missing=True, read_at=NOW + 900)


def sync(conn: psycopg.Connection, stripe: Canned, id_: str, **more: Any) -> Synced:
    return sync_object(conn, stripe, Policy(), id_, **more)


def view(conn: psycopg.Connection, name: str) -> list[dict[str, Any]]:
    return [row[0] for row in conn.execute(f"select to_jsonb(v) from stripe.{name} as v order by id")]


def test_an_object_is_read_and_its_changes_are_reported(conn: psycopg.Connection) -> None:
    before = factories.customer("cus_1", name="Before")
    deliver(conn, factories.event("customer.created", before))
    stripe = Canned(answered({**before, "name": "After", "balance": -500}, read_at=NOW + 900))

    first, second = sync(conn, stripe, "cus_1"), sync(conn, stripe, "cus_1")

    assert stripe.asked == ["/v1/customers/cus_1"] * 2
    assert (first.outcome, first.differences) == (
        "corrected",
        (Difference("balance", 0, -500), Difference("name", "Before", "After")),
    )
    assert (second.outcome, second.differences) == ("confirmed", ())
    assert [(row["name"], row["balance"], row["unsettled"]) for row in view(conn, "customers")] == [
        ("After", -500, False)
    ]


@pytest.mark.parametrize(
    ("id_", "path", "table"),
    [
        ("promo_1", "/v1/promotion_codes/promo_1", "promotion_codes"),
        ("sub_sched_1", "/v1/subscription_schedules/sub_sched_1", "subscription_schedules"),
        ("cs_test_1", "/v1/checkout/sessions/cs_test_1", "checkout_sessions"),
    ],
)
def test_an_object_missing_from_the_mirror_is_recognized_by_its_id_prefix(
    conn: psycopg.Connection, id_: str, path: str, table: str
) -> None:
    type_ = {"promotion_codes": "promotion_code", "subscription_schedules": "subscription_schedule"}
    obj: Json = {"id": id_, "object": type_.get(table, "checkout.session"), "livemode": False, "created": NOW}
    stripe = Canned(answered(obj, read_at=NOW + 900))

    assert sync(conn, stripe, id_).outcome in ("corrected", "uncertain")
    assert stripe.asked == [path]
    assert [row["id"] for row in view(conn, table)] == [id_]


def test_an_id_without_a_known_prefix_needs_a_type(conn: psycopg.Connection) -> None:
    stripe = Canned(answered(factories.product("gold"), read_at=NOW + 900))

    with pytest.raises(UnknownType, match="--type"):
        sync(conn, stripe, "gold")
    assert sync(conn, stripe, "gold", type_="product").outcome == "corrected"
    # From now on it is mirrored.
    assert sync(conn, stripe, "gold").outcome == "confirmed"


def test_an_id_of_two_types_can_be_read_as_either(conn: psycopg.Connection) -> None:
    deliver(
        conn,
        factories.event("price.created", factories.price("price_1")),
        factories.event("plan.created", factories.plan("price_1")),
    )
    stripe = Canned(answered(factories.plan("price_1"), read_at=NOW + 900))

    assert sync(conn, stripe, "price_1", type_="plan").object == "plan"
    assert sync(conn, Canned(answered(factories.price("price_1"), read_at=NOW + 900)), "price_1").object == "price"


def test_an_object_that_does_not_exist_is_reported(conn: psycopg.Connection) -> None:
    with pytest.raises(NotThere, match="Stripe has no customer cus_none, and neither has the mirror"):
        sync(conn, Canned(GONE), "cus_none")
    with pytest.raises(CannotRead, match="sync the parent"):
        sync(conn, Canned(GONE), "cnli_1", type_="credit_note_line_item")


def test_a_single_404_deletes_nothing(conn: psycopg.Connection) -> None:
    deliver(conn, factories.event("customer.created", factories.customer("cus_1")))

    assert sync(conn, Canned(GONE), "cus_1").outcome == "uncertain"

    assert [row["deleted"] for row in view(conn, "customers")] == [False]
    assert conn.execute("select id from sync.refetch_queue").fetchall() == [("cus_1",)]


def test_an_event_that_arrives_during_the_read_wins(conn: psycopg.Connection) -> None:
    before = factories.customer("cus_1", name="Before")
    deliver(conn, factories.event("customer.created", before))
    answers = iter([{**before, "name": "Stale"}, {**before, "name": "Now"}])

    class Busy(Canned):
        def retrieve(self, path: str, *, account: str = "") -> Answer:
            answer = answered(next(answers), read_at=NOW + 1200)
            if not self.asked:
                deliver(
                    conn, factories.update("customer.updated", before, {**before, "name": "Now"}, created=NOW + 600)
                )
            self.asked.append(path)
            return answer

    synced = sync(conn, Busy(GONE), "cus_1")

    assert (len(view(conn, "customers")), view(conn, "customers")[0]["name"]) == (1, "Now")
    assert synced.outcome == "confirmed"


def test_the_history_of_an_object_names_each_change_and_its_event(conn: psycopg.Connection) -> None:
    first = factories.customer("cus_1", name="First", metadata={"plan": "a", "kept": "1"})
    second = {**first, "name": "Second", "metadata": {"plan": "b", "kept": "1"}}
    created = factories.event("customer.created", first)
    updated = factories.update("customer.updated", first, second, created=NOW + 60)
    deliver(conn, created, updated)
    sync(conn, Canned(answered({**second, "balance": 7}, read_at=NOW + 900)), "cus_1")

    versions = history.versions(conn, "cus_1")

    assert [(version.source, version.differences) for version in versions] == [
        (f"get:{NOW + 900}", (Difference("balance", 0, 7),)),
        (updated["id"], (Difference("metadata.plan", "a", "b"), Difference("name", "First", "Second"))),
        (created["id"], None),
    ]


def everything(conn: psycopg.Connection) -> Mapping[str, Any]:
    tables = conn.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('public', 'sync', 'mirror')"
    ).fetchall()
    return {
        f"{schema}.{table}": sorted(str(row) for row in conn.execute(f"select t::text from {schema}.{table} as t"))
        for schema, table in tables
    }


def test_a_dry_run_reports_what_an_event_would_change_and_changes_nothing(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id, email) values ('user_1', 'jenny@example.com')")
    before = factories.customer("cus_jenny", user_id="user_1", name="Before")
    waiting = factories.subscription("sub_1", customer="cus_jenny", user_id="user_1")
    deliver(
        conn,
        factories.event("product.created", factories.product("prod_pro", metadata={"tokens": "100"})),
        factories.event("price.created", factories.price()),
        factories.event("customer.created", before),
    )
    from worker.inbox import store as inbox
    from worker.stripe_api.envelope import read_envelope

    event = factories.event("customer.subscription.created", waiting, created=NOW + 60)
    inbox.store(conn, [read_envelope(factories.encoded(event).decode())])
    held = everything(conn)

    tried = dry_run.replay(conn, event["id"], policy=Policy(), livemode=False)

    assert everything(conn) == held
    assert tried.outcome == "newer" or tried.outcome
    assert Difference("status", None, "active") in tried.changes["mirror.subscriptions sub_1"]
    assert Difference("role", "USER", "PREMIUM") in tried.changes["users user_1"]
    assert any(name.startswith("mirror.subscription_items") for name in tried.changes)
    with pytest.raises(dry_run.NoSuchEvent):
        dry_run.replay(conn, "evt_none", policy=Policy(), livemode=False)
