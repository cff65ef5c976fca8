"""Lists within an object that Stripe truncates or omits. The object stays unsettled until its whole list is mirrored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests import factories
from tests.factories import NOW, Json
from tests.writers.refetching import deliver, read_queued
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.stripe_api.answers import Answer, Page
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, every_shape

OF_JENNY = "/v1/entitlements/active_entitlements"


@dataclass
class Lists:
    """A Stripe client with these objects and lists. A page has 10 entries unless the request has a limit."""

    objects: dict[str, Json] = field(default_factory=dict)
    lists: dict[str, list[Json]] = field(default_factory=dict)
    now: int = NOW + 900
    asked: list[str] = field(default_factory=list)

    def retrieve(self, path: str, *, account: str = "") -> Answer:
        self.asked.append(path)
        shown = self.objects.get(path)
        return Answer(shown, deleted=shown is None, missing=shown is None, read_at=self.now)

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        params = dict(params or {})
        self.asked.append(path)
        whole = self.lists.get(path, [])
        after = params.get("starting_after")
        start = [each["id"] for each in whole].index(after) + 1 if after else 0
        end = start + int(params.get("limit", 10))
        return Page(whole[start:end], has_more=end < len(whole), read_at=self.now)


def entitlement(number: int) -> Json:
    return {
        "id": f"ent_{number}",
        "object": "entitlements.active_entitlement",
        "feature": f"feat_{number}",
        "livemode": False,
        "lookup_key": f"feature-{number}",
    }


def summary(active: list[Json], *, created: int) -> Json:
    shown = {**factories.listing(active[:10], url=OF_JENNY), "has_more": len(active) > 10}
    obj = {
        "object": "entitlements.active_entitlement_summary",
        "customer": "cus_jenny",
        "entitlements": shown,
        "livemode": False,
    }
    return factories.event("entitlements.active_entitlement_summary.updated", obj, created=created)


def held(conn: psycopg.Connection, view: str, column: str = "customer") -> dict[str, str]:
    rows = conn.execute(f"select id, {column} from stripe.{view} where not deleted").fetchall()
    return dict(rows)


def unsettled(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select object from mirror.objects where unsettled")]


def test_a_summary_with_10_of_25_entitlements_becomes_25_rows(conn: psycopg.Connection) -> None:
    active = [entitlement(number) for number in range(25)]
    deliver(conn, summary(active, created=NOW))

    assert len(held(conn, "active_entitlements")) == 10
    assert unsettled(conn) == ["entitlements.active_entitlement_summary"]
    read_queued(conn, Lists(lists={OF_JENNY: active}))
    assert held(conn, "active_entitlements") == {each["id"]: "cus_jenny" for each in active}
    assert unsettled(conn) == []

    fewer = active[:7] + active[8:]
    deliver(conn, summary(fewer, created=NOW + 2000))
    assert len(held(conn, "active_entitlements")) == 25, "a truncated list removes nothing"
    read_queued(conn, Lists(lists={OF_JENNY: fewer}, now=NOW + 3000))
    assert held(conn, "active_entitlements").keys() == {each["id"] for each in fewer}

    deliver(conn, summary([], created=NOW + 5000))
    assert held(conn, "active_entitlements") == {}
    deliver(conn, summary(active[:2], created=NOW + 6000))
    assert held(conn, "active_entitlements").keys() == {"ent_0", "ent_1"}, (
        "an entitlement may be granted again under the same id"
    )


def test_an_older_summary_removes_nothing_from_a_newer_one(conn: psycopg.Connection) -> None:
    active = [entitlement(number) for number in range(3)]
    deliver(conn, summary(active, created=NOW + 100))

    deliver(conn, summary(active[:1], created=NOW))

    assert len(held(conn, "active_entitlements")) == 3


def read_lists(
    conn: psycopg.Connection, stripe: Lists, *names: str, share: float = 1, account: str = ""
) -> dict[str, str]:
    """Read these lists to their end, and return the errors."""
    with conn.transaction():
        run, _ = shards.begin(conn, "test", {})
        shards.add(conn, run, [(name, None, None) for name in names])
    options = Options(threads=2, threads_per_list=2, max_deleted_share=share)
    assert passes.carry_out(conn, stripe, Policy(), run, every_shape(account), options, should_continue=lambda: True)
    return {name: standing.error for name, standing in shards.standings(conn, run).items() if standing.error}


def test_a_pass_finds_unreported_entitlements(conn: psycopg.Connection) -> None:
    deliver(
        conn,
        factories.event("customer.created", factories.customer()),
        factories.event("customer.created", factories.customer("cus_other")),
    )
    active = [entitlement(number) for number in range(4)]
    stripe = Lists(lists={OF_JENNY: active})
    stripe.lists["none"] = []

    class Each(Lists):
        def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
            of = (params or {}).get("customer")
            return (stripe if of == "cus_jenny" else Lists()).page(path, params, account=account)

    assert not read_lists(conn, Each(), "entitlements_active_entitlements")
    assert held(conn, "active_entitlements") == {each["id"]: "cus_jenny" for each in active}
    assert conn.execute("select id from stripe.active_entitlement_summaries").fetchall() == [("cus_jenny",)]

    stripe.lists[OF_JENNY], stripe.now = [], NOW + 5000
    assert not read_lists(conn, Each(), "entitlements_active_entitlements")
    assert held(conn, "active_entitlements") == {}


def test_the_features_of_a_product_follow_its_list(conn: psycopg.Connection) -> None:
    deliver(conn, factories.event("product.created", factories.product("prod_pro")))
    path = "/v1/products/prod_pro/features"
    features = [
        {"id": f"prodft_{n}", "object": "product_feature", "entitlement_feature": {"id": "f"}} for n in range(12)
    ]
    stripe = Lists(lists={path: [dict(each) for each in features]})

    assert not read_lists(conn, _A_hundred(stripe), "product_features")
    assert held(conn, "product_features", "product") == {each["id"]: "prod_pro" for each in features}

    stripe.lists[path].pop(5)
    stripe.now += 100
    assert not read_lists(conn, _A_hundred(stripe), "product_features")
    assert held(conn, "product_features", "product").keys() == {each["id"] for each in stripe.lists[path]}


def feature(number: int) -> Json:
    return {"id": f"prodft_{number}", "object": "product_feature", "entitlement_feature": {"id": "feat_1"}}


def with_features(conn: psycopg.Connection, number: int) -> Lists:
    """Mirror a product with this many features, then remove them from Stripe's list."""
    deliver(conn, factories.event("product.created", factories.product("prod_pro")))
    path = "/v1/products/prod_pro/features"
    stripe = _A_hundred(Lists(lists={path: [feature(n) for n in range(number)]}))
    assert not read_lists(conn, stripe, "product_features")
    assert len(held(conn, "product_features", "product")) == number
    stripe.of.now += 100
    return stripe.of


def test_removed_features_are_limited_by_max_deleted_share_too(conn: psycopg.Connection) -> None:
    stripe = with_features(conn, 40)
    features = stripe.lists["/v1/products/prod_pro/features"]
    stripe.lists["/v1/products/prod_pro/features"] = features[:25]

    errors = read_lists(conn, _A_hundred(stripe), "product_features", share=0.1)
    assert "15 or more of the 40" in errors["product_features"]
    assert len(held(conn, "product_features", "product")) == 40

    assert not read_lists(conn, _A_hundred(stripe), "product_features")
    assert held(conn, "product_features", "product").keys() == {each["id"] for each in features[:25]}
    gone = conn.execute("select distinct product from stripe.product_features where deleted").fetchall()
    assert gone == [("prod_pro",)], "the deleted rows keep the product, which is needed to find the users to compute"


def test_a_feature_missing_from_a_list_of_several_pages_is_marked_deleted(conn: psycopg.Connection) -> None:
    stripe = with_features(conn, 230)
    features = stripe.lists["/v1/products/prod_pro/features"]
    gone = [features.pop(210)["id"], features.pop(7)["id"]]

    assert not read_lists(conn, _A_hundred(stripe), "product_features", share=0.1)

    marked = conn.execute("select id from stripe.product_features where deleted order by id").fetchall()
    assert marked == sorted((id_,) for id_ in gone)


@pytest.mark.parametrize(
    ("list_", "type_", "column", "url"),
    [
        ("tax_ids", "tax_id", "customer", "/v1/tax_ids/{}"),
        ("payment_methods", "payment_method", "customer", "/v1/payment_methods/{}"),
    ],
)
def test_a_customer_s_lists_of_several_pages_are_complete_after_a_pass(
    conn: psycopg.Connection, list_: str, type_: str, column: str, url: str
) -> None:
    """A pass finds objects that no event reported. It reads each mirrored object missing from the list by its id."""
    deliver(conn, factories.event("customer.created", factories.customer()))
    path = f"/v1/customers/cus_jenny/{list_}"
    every = [{"id": f"x_{n}", "object": type_, "customer": "cus_jenny", "created": NOW} for n in range(230)]
    stripe = Lists(lists={path: every})
    assert not read_lists(conn, _A_hundred(stripe), list_)
    assert held(conn, list_, column) == {each["id"]: "cus_jenny" for each in every}

    stripe.lists[path] = [each for each in every if each["id"] not in ("x_3", "x_150", "x_229")]
    stripe.objects[url.format("x_150")] = {**every[150], "customer": None}
    stripe.now += 100
    assert not read_lists(conn, _A_hundred(stripe), list_, share=0.1)

    rows = conn.execute(f"select id, coalesce({column}, '') from stripe.{list_} where not deleted").fetchall()
    assert dict(rows) == {each["id"]: "cus_jenny" for each in stripe.lists[path]} | {"x_150": ""}
    gone = conn.execute(f"select id from stripe.{list_} where deleted order by id").fetchall()
    assert gone == [("x_229",), ("x_3",)]


def test_max_deleted_share_counts_the_rows_of_one_list_and_account(conn: psycopg.Connection) -> None:
    """Most rows of a small connected account must not be deleted just because the platform account has thousands of rows."""
    insert = """
        insert into mirror.coupons (id, account, created, data, observed_at, observed_rank, observed_in, content_hash, shape)
        select 'c_' || n, %s, to_timestamp(%s), '{"object": "coupon"}', to_timestamp(%s), 0, 'evt', '', ''
        from generate_series(1, %s) as n
    """
    conn.execute(insert, ("", NOW, NOW, 3000))
    conn.execute(insert, ("acct_1", NOW, NOW, 40))
    conn.execute("analyze mirror.coupons")

    errors = read_lists(conn, Lists(lists={"/v1/coupons": []}), "coupons", share=0.1, account="acct_1")

    assert "of the 40" in errors["coupons"]
    assert conn.execute("select count(*) from stripe.coupons where deleted").fetchone() == (0,)


class _A_hundred(Lists):
    """Lists with 100 entries per page, as a pass requests them."""

    def __init__(self, stripe: Lists) -> None:
        super().__init__()
        self.of = stripe

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        return self.of.page(path, {"limit": 100, **(params or {})}, account=account)

    def retrieve(self, path: str, *, account: str = "") -> Answer:
        return self.of.retrieve(path, account=account)


def line(number: int) -> Json:
    return {
        "id": f"cnli_{number}",
        "object": "credit_note_line_item",
        "amount": 10 * number,
        "type": "invoice_line_item",
    }


def test_a_settled_credit_note_has_all_its_lines(conn: psycopg.Connection) -> None:
    lines = [line(number) for number in range(23)]
    note: Json = {
        "id": "cn_1",
        "object": "credit_note",
        "status": "issued",
        "customer": "cus_jenny",
        "invoice": "in_1",
        "amount": 100,
        "created": NOW,
        "lines": {**factories.listing(lines[:10], url="/v1/credit_notes/cn_1/lines"), "has_more": True},
    }
    deliver(conn, factories.event("credit_note.created", note, created=NOW))
    assert conn.execute("select unsettled from stripe.credit_notes").fetchall() == [(True,)]

    read_queued(conn, Lists({"/v1/credit_notes/cn_1": note}, {"/v1/credit_notes/cn_1/lines": lines}))

    assert conn.execute("select unsettled from stripe.credit_notes").fetchall() == [(False,)]
    assert held(conn, "credit_note_lines", "credit_note") == {each["id"]: "cn_1" for each in lines}
    assert conn.execute("select sum(amount) from stripe.credit_note_lines").fetchone() == (sum(range(0, 230, 10)),)


@pytest.mark.parametrize(
    ("type_", "id_", "path", "view", "column"),
    [
        ("quote", "qt_1", "/v1/quotes/qt_1", "quote_line_items", "quote"),
        ("payment_link", "plink_1", "/v1/payment_links/plink_1", "payment_link_line_items", "payment_link"),
    ],
)
def test_line_items_that_no_event_contains_are_fetched(
    conn: psycopg.Connection, type_: str, id_: str, path: str, view: str, column: str
) -> None:
    obj: Json = {"id": id_, "object": type_, "status": "open", "created": NOW}
    items = [{"id": f"li_{n}", "object": "item", "quantity": n, "price": {"id": "price_1"}} for n in range(11)]
    deliver(conn, factories.event(f"{type_}.created", obj, created=NOW))

    read_queued(conn, Lists({path: obj}, {f"{path}/line_items": items}))

    assert held(conn, view, column) == {each["id"]: id_ for each in items}
    assert unsettled(conn) == []
    assert conn.execute("select count(*) from stripe.checkout_session_line_items").fetchone() == (0,)


def test_a_payout_s_balance_transactions_are_fetched_once_it_is_reconciled(conn: psycopg.Connection) -> None:
    payout: Json = {"id": "po_1", "object": "payout", "status": "paid", "reconciliation_status": "in_progress"}
    deliver(conn, factories.event("payout.created", payout, created=NOW))
    assert unsettled(conn) == []
    payout = {**payout, "reconciliation_status": "completed"}
    deliver(conn, factories.event("payout.reconciliation_completed", payout, created=NOW + 100))
    assert unsettled(conn) == ["payout"]
    settled = [{"id": f"txn_{n}", "object": "balance_transaction", "amount": n, "created": NOW} for n in range(120)]

    read_queued(conn, Lists({"/v1/payouts/po_1": payout}, {"/v1/balance_transactions": settled}))

    assert unsettled(conn) == []
    assert held(conn, "balance_transactions", "payout") == {each["id"]: "po_1" for each in settled}
    assert conn.execute("select data ? 'balance_transactions' from stripe.payouts").fetchone() == (False,)
