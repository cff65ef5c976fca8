"""Catalogue refresh and reconcile, run against the sandbox: after a pass the database equals Stripe."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.draining import read_lists
from tests.factories import Json, customer, event, subscription
from tests.sandboxes import Sandbox
from worker.jobs import status
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.postgres import runs
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.client import Stripe
from worker.stripe_api.errors import StripeFailed
from worker.stripe_api.lists import LISTS
from worker.writers import reconcile, refresh_catalogue
from worker.writers.list_pass import Place, Tally
from worker.writers.passes.parents import Parents
from worker.writers.passes.plan import Options

Apply = Callable[..., None]
SLOT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def refreshed(conn: psycopg.Connection, stripe: Any) -> dict[str, int]:
    result = read_lists(conn, stripe, refresh_catalogue.CATALOGUE)
    return {name: result[name] for name in Tally().as_dict()}


def written_at(conn: psycopg.Connection) -> list[Any]:
    """Return the transaction that last wrote each row. If two results are equal, nothing was written in between."""
    tables = ("mirror.products", "mirror.prices", "stripe_products", "stripe_prices", "users")
    return [row for table in tables for row in conn.execute(f"select id, xmin::text from {table} order by id")]


def test_a_refresh_mirrors_the_whole_catalogue(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = sandbox.post("/v1/products", name="Silent", **{"metadata[tokens]": "7"})
    off = sandbox.post("/v1/products", name="Off", active="false")
    sandbox.post(
        "/v1/prices", product=made["id"], currency="eur", unit_amount="900", **{"recurring[interval]": "month"}
    )

    tally = refreshed(conn, stripe)

    assert tally == {"listed": 3, "written": 3, "unchanged": 0, "repaired": 0, "marked_deleted": 0}
    rows = conn.execute("select name, active, metadata from stripe_products order by name").fetchall()
    assert rows == [("Off", False, {}), ("Silent", True, {"tokens": "7"})]
    assert conn.execute("select product_id, unit_amount, interval from stripe_prices").fetchall() == [
        (made["id"], 900, "month")
    ]
    assert off["active"] is False


def test_nothing_is_written_if_nothing_changed(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    sandbox.tell("populate", products=30)
    first = refreshed(conn, stripe)
    before = written_at(conn)

    second = refreshed(conn, stripe)

    assert second == {**first, "written": 0, "unchanged": first["listed"]}
    assert written_at(conn) == before


def test_an_unreported_change_is_repaired(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = sandbox.post("/v1/products", name="Old")
    refreshed(conn, stripe)
    # Set the last observation back an hour, because a difference shortly after it would leave the row unsettled.
    conn.execute("update mirror.products set observed_at = observed_at - interval '1 hour'")
    sandbox.post(f"/v1/products/{made['id']}", name="New")

    tally = refreshed(conn, stripe)

    assert (tally["repaired"], tally["unchanged"]) == (1, 0)
    assert conn.execute("select name from stripe_products").fetchall() == [("New",)]
    assert conn.execute("select unsettled from stripe.products").fetchall() == [(False,)]


def test_a_product_missing_from_the_list_is_read_and_marked_deleted(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    products = [sandbox.post("/v1/products", name=f"P{number}") for number in range(3)]
    refreshed(conn, stripe)
    conn.execute("update mirror.products set observed_at = observed_at - interval '1 hour'")
    sandbox.delete(f"/v1/products/{products[1]['id']}")

    tally = refreshed(conn, stripe)

    assert tally["marked_deleted"] == 1
    assert conn.execute("select id from stripe.products where deleted").fetchall() == [(products[1]["id"],)]
    assert conn.execute("select name, active from stripe_products order by name").fetchall() == [
        ("P0", True),
        ("P1", False),
        ("P2", True),
    ]


def test_missing_products_are_found_across_pages_and_within_one_second(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("clock", now=int(time.time()) - 500, frozen=True)
    ids = [sandbox.post("/v1/products", name=f"P{number}")["id"] for number in range(230)]
    sandbox.tell("clock", real=True)
    first = refreshed(conn, stripe)
    conn.execute("update mirror.products set observed_at = observed_at - interval '1 hour'")
    for gone in (ids[0], ids[99], ids[100], ids[229]):
        sandbox.delete(f"/v1/products/{gone}")

    tally = refreshed(conn, stripe)

    assert (first["listed"], first["marked_deleted"]) == (230, 0)
    assert (tally["listed"], tally["marked_deleted"]) == (226, 4)


def test_a_page_read_before_a_newer_webhook_does_not_overwrite_it(
    conn: psycopg.Connection, database: str, sandbox: Sandbox, stripe: Stripe, apply: Apply
) -> None:
    made = sandbox.post("/v1/products", name="Read")

    class WebhookInBetween:
        """A Stripe client that applies a newer webhook between the answer and the write."""

        def page(self, path: str, params: Any = None) -> Page:
            page = stripe.page(path, params)
            if path == "/v1/products":
                newer: Json = {**made, "name": "Newer"}
                apply(event("product.updated", newer, created=page.read_at + 8))
            return page

        def retrieve(self, path: str) -> Answer:
            return stripe.retrieve(path)

    with psycopg.connect(database, autocommit=True) as own:
        refreshed(own, WebhookInBetween())

    assert conn.execute("select name, unsettled from stripe.products").fetchall() == [("Newer", False)]


def test_a_failed_tick_changes_nothing_and_the_next_slot_tries_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.post("/v1/products", name="Pro")

    class Failing:
        def page(self, path: str, params: Any = None) -> Page:
            raise StripeFailed("Stripe answered that it is broken")

        def retrieve(self, path: str) -> Answer:
            raise AssertionError("nothing was listed")

    failed = refresh_catalogue.tick(conn, Failing, Policy(), SLOT)
    again = refresh_catalogue.tick(conn, lambda: stripe, Policy(), SLOT)
    following = refresh_catalogue.tick(conn, lambda: stripe, Policy(), SLOT.replace(minute=5))

    assert (failed, again) == (None, None)
    assert following is not None
    assert following["listed"] == 1
    assert conn.execute("select outcome, error from sync.runs order by slot").fetchall() == [
        ("failed", "Stripe answered that it is broken"),
        ("done", None),
    ]


def test_features_are_read_in_turn_and_for_new_products_at_once(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_catalogue, "FEATURES_LEAST", 5)
    feature = sandbox.post("/v1/entitlements/features", name="Export", lookup_key="export")["id"]
    first = [sandbox.post("/v1/products", name=f"P{number}")["id"] for number in range(120)]

    def read(minute: int) -> set[str]:
        """Run a refresh, and return the products whose features it read."""
        before: dict[str, Any] = dict(
            conn.execute("select product_id, features_read_at from sync.product_changes").fetchall()
        )
        assert refresh_catalogue.tick(conn, lambda: stripe, Policy(), SLOT.replace(minute=minute)) is not None
        after = conn.execute("select product_id, features_read_at from sync.product_changes").fetchall()
        return {id_ for id_, read_at in after if read_at != before.get(id_)}

    everything = read(0)
    sandbox.post(f"/v1/products/{first[7]}/features", entitlement_feature=feature)
    new = sandbox.post("/v1/products", name="New")["id"]
    twelfth = read(5)
    rest = [read(5 * tick) for tick in range(2, 12)]

    (oldest,) = conn.execute("select min(features_read_at) from sync.product_changes").fetchone() or (None,)
    last = status.status(conn)["last_product_refresh"]
    assert datetime.fromisoformat(last["result"]["features_read_since"]) < oldest
    assert everything == set(first)
    assert new in twelfth
    assert len(twelfth) == 1 + 10
    assert [len(each) for each in rest] == [11] * 10
    assert set().union(twelfth, *rest) == {*first, new}
    assert conn.execute("select product from stripe.product_features").fetchall() == [(first[7],)]
    assert sandbox.ask("stats")["requests"]["GET /v1/products/{id}/features"] == 120 + 11 + 110


def test_an_interrupted_refresh_continues_with_the_products_that_were_due(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    for number in range(3):
        sandbox.post("/v1/products", name=f"P{number}")
    assert refresh_catalogue.tick(conn, lambda: stripe, Policy(), SLOT) is not None
    new = sandbox.post("/v1/products", name="New")["id"]
    run = runs.claim(conn, refresh_catalogue.JOB, SLOT.replace(minute=5))
    assert run is not None
    runs.seen(conn, run, {refresh_catalogue.READ_SINCE: "2026-01-01T00:00:00+00:00"})
    shards.add(conn, run, [(name, None, None) for name in refresh_catalogue.CATALOGUE])
    conn.execute("update sync.product_changes set features_read_at = '2026-01-02'")

    assert refresh_catalogue.tick(conn, lambda: stripe, Policy(), SLOT.replace(minute=10)) is not None

    read = conn.execute("select product_id from sync.product_changes where features_read_at > '2026-01-02'").fetchall()
    assert read == [(new,)]


def test_a_connected_account_s_product_of_the_same_id_counts_as_another(conn: psycopg.Connection) -> None:
    walks = [Parents(LISTS[name], account).walk(Place(), {}) for name, account in _WALKS]

    assert [walk.is_of_our_products for walk in walks] == [True, False, False]


_WALKS = (("product_features", ""), ("product_features", "acct_a"), ("payment_methods", ""))


def test_a_slot_is_claimed_once_and_only_one_run_of_a_job_is_active(conn: psycopg.Connection) -> None:
    mine = runs.claim(conn, "job", SLOT)
    yours = runs.claim(conn, "job", SLOT)
    meanwhile = runs.claim(conn, "job", SLOT.replace(minute=5))
    assert mine is not None
    runs.finish(conn, mine, {})
    same_slot = runs.claim(conn, "job", SLOT)
    next_slot = runs.claim(conn, "job", SLOT.replace(minute=5))

    assert (yours, meanwhile, same_slot) == (None, None, None)
    assert next_slot is not None


def test_a_run_whose_worker_died_is_abandoned_for_the_next_slot(conn: psycopg.Connection) -> None:
    runs.claim(conn, "job", SLOT)
    conn.execute("update sync.runs set seen_at = now() - interval '10 minutes'")

    following = runs.claim(conn, "job", SLOT.replace(minute=5))

    assert following is not None
    assert conn.execute("select outcome from sync.runs order by slot").fetchall() == [("lost",), (None,)]


def reconciled(conn: psycopg.Connection, stripe: Any, slot: datetime = SLOT) -> dict[str, int]:
    result = reconcile.tick(conn, lambda: stripe, Policy(), slot, should_continue=lambda: True)
    assert result is not None
    return result


def test_reconcile_repairs_users_whose_subscription_change_was_not_reported(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("insert into users (id) values ('u')")
    story = sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U", link="subscription")
    first = reconciled(conn, stripe)
    joined = conn.execute("select role::text, membership_status::text from users").fetchone()
    conn.execute("update mirror.subscriptions set observed_at = observed_at - interval '1 hour'")
    sandbox.delete(
        f"/v1/subscriptions/{next(iter(story['expected']['subscriptions']), None) or story['ids']['subscription']}"
    )

    second = reconciled(conn, stripe, SLOT.replace(hour=13))

    assert (first["listed"], first["written"]) == (1, 1)
    assert joined == ("PREMIUM", "ACTIVE")
    # The list no longer contains the canceled subscription, so the pass read the subscription by its id.
    assert (second["listed"], second["repaired"]) == (0, 1)
    assert conn.execute("select role::text, membership_status::text from users").fetchone() == ("USER", "CANCELED")


@pytest.mark.parametrize("threads", [1, 8])
def test_the_shards_of_the_list_together_read_every_subscription_once(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, threads: int
) -> None:
    sandbox.tell("populate", customers=50, subscriptions=1450)
    everything = read_lists(conn, stripe, ["subscriptions"])

    # Slow pages leave the other threads time to split the list.
    sandbox.tell("faults", operation="GET /v1/subscriptions", slow_seconds=0.2)
    options = Options(threads=threads, threads_per_list=threads)
    result = reconcile.tick(conn, lambda: stripe, Policy(), SLOT, options=options, should_continue=lambda: True)

    sandbox.tell("faults", clear=True)
    living = conn.execute(
        "select count(*) from stripe.subscriptions where status not in ('canceled', 'incomplete_expired')"
    ).fetchone()
    assert result is not None
    assert living is not None
    assert everything["listed"] == 1450
    assert (result["listed"], result["unchanged"], result["repaired"]) == (living[0], living[0], 0)
    number = conn.execute("select count(*) from sync.shards join sync.runs on runs.id = run_id where job = 'reconcile'")
    assert (number.fetchone() or (0,))[0] in ([1] if threads == 1 else range(3, 20))


def test_a_subscription_just_reported_by_an_event_is_not_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Apply
) -> None:
    apply(
        event("customer.created", customer("cus_1"), created=int(time.time())),
        event("customer.subscription.created", subscription("sub_new", customer="cus_1"), created=int(time.time())),
    )

    result = reconciled(conn, stripe)

    assert result.get("marked_deleted", 0) == 0
    assert "GET /v1/subscriptions/{id}" not in sandbox.ask("stats")["requests"]
