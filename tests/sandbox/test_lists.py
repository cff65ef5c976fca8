"""Lists: the order, pages and filters that Stripe documents."""

from collections.abc import Callable

import pytest

from tests.sandbox.conftest import Sandbox


def ids(answer: tuple[int, dict[str, str], dict[str, list[dict[str, str]]]]) -> list[str]:
    assert answer[0] == 200, answer[2]
    return [member["id"] for member in answer[2]["data"]]


@pytest.fixture
def products(sandbox: Sandbox) -> list[str]:
    """The ids of 25 products, created a second apart, oldest first."""
    sandbox.control("clock", now=1_790_000_000, frozen=True)
    made = []
    for number in range(25):
        made.append(
            sandbox.api("POST", "/v1/products", f"name=P{number}&active={'true' if number % 2 else 'false'}")[2]
        )
        sandbox.control("clock", advance=1)
    return [product["id"] for product in made]


def test_a_list_shows_the_newest_ten_by_default(sandbox: Sandbox, products: list[str]) -> None:
    answer = sandbox.api("GET", "/v1/products")

    assert ids(answer) == products[:-11:-1]
    assert answer[2]["has_more"] is True
    assert answer[2]["url"] == "/v1/products"


def test_the_sdk_reads_every_object_once_by_paging(sandbox: Sandbox, products: list[str]) -> None:
    listed = [product.id for product in sandbox.client().v1.products.list({"limit": 10}).auto_paging_iter()]

    assert listed == products[::-1]


def test_pages_are_stable_while_new_objects_are_created(sandbox: Sandbox, products: list[str]) -> None:
    first = ids(sandbox.api("GET", "/v1/products?limit=20"))
    sandbox.api("POST", "/v1/products", "name=late")

    second = sandbox.api("GET", f"/v1/products?limit=20&starting_after={first[-1]}")

    assert first + ids(second) == products[::-1]
    assert second[2]["has_more"] is False


def test_ending_before_returns_the_page_of_newer_objects(sandbox: Sandbox, products: list[str]) -> None:
    answer = sandbox.api("GET", f"/v1/products?limit=3&ending_before={products[20]}")

    assert ids(answer) == [products[23], products[22], products[21]]
    assert answer[2]["has_more"] is True
    assert sandbox.api("GET", f"/v1/products?limit=4&ending_before={products[20]}")[2]["has_more"] is False


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("created=1790000003", [3]),
        ("created[gte]=1790000003&created[lt]=1790000005", [4, 3]),
        ("created[gt]=1790000003&created[lte]=1790000005", [5, 4]),
        ("created[gte]=1790000020&active=true", [23, 21]),
    ],
)
def test_filters_narrow_a_list(sandbox: Sandbox, products: list[str], query: str, expected: list[int]) -> None:
    assert ids(sandbox.api("GET", f"/v1/products?{query}")) == [products[number] for number in expected]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("starting_after=prod_none", "starting_after"),
        ("sort=asc", "sort"),
    ],
)
def test_a_list_refuses_unknown_parameters(sandbox: Sandbox, query: str, param: str) -> None:
    status, _, answer = sandbox.api("GET", f"/v1/products?{query}")

    assert status == 400
    assert answer["error"]["param"] == param


def test_deleted_objects_are_never_listed(sandbox: Sandbox, products: list[str]) -> None:
    sandbox.api("DELETE", f"/v1/products/{products[23]}")

    assert ids(sandbox.api("GET", "/v1/products?limit=3")) == [products[24], products[22], products[21]]
    assert sandbox.api("GET", f"/v1/products/{products[23]}")[0] == 404


def test_a_deleted_customer_is_a_stub_and_its_subscription_is_canceled(sandbox: Sandbox) -> None:
    made = sandbox.story("sign_up", user_id="ada")["ids"]

    sandbox.api("DELETE", f"/v1/customers/{made['customer']}")

    assert sandbox.api("GET", f"/v1/customers/{made['customer']}")[::2] == (
        200,
        {"id": made["customer"], "object": "customer", "deleted": True},
    )
    assert sandbox.api("GET", f"/v1/subscriptions/{made['subscription']}")[2]["status"] == "canceled"
    assert ids(sandbox.api("GET", "/v1/customers")) == []


def test_ended_subscriptions_are_listed_only_on_request(sandbox: Sandbox) -> None:
    stays = sandbox.story("sign_up", user_id="stays")["ids"]["subscription"]
    leaves = sandbox.story("sign_up", user_id="leaves")["ids"]["subscription"]
    sandbox.story("cancel", user_id="leaves", when="now")

    assert ids(sandbox.api("GET", "/v1/subscriptions")) == [stays]
    assert ids(sandbox.api("GET", "/v1/subscriptions?status=all")) == [leaves, stays]
    assert ids(sandbox.api("GET", "/v1/subscriptions?status=canceled")) == [leaves]
    assert ids(sandbox.api("GET", "/v1/subscriptions?status=ended")) == [leaves]


def test_an_object_that_left_the_list_is_not_a_valid_cursor(sandbox: Sandbox, products: list[str]) -> None:
    sandbox.api("DELETE", f"/v1/products/{products[20]}")
    left = sandbox.story("sign_up", user_id="leaves")["ids"]["subscription"]
    sandbox.story("cancel", user_id="leaves", when="now")

    for path in (f"/v1/products?starting_after={products[20]}", f"/v1/subscriptions?starting_after={left}"):
        status, _, answer = sandbox.api("GET", path)
        assert (status, answer["error"]["code"], answer["error"]["param"]) == (
            400,
            "resource_missing",
            "starting_after",
        )
    assert ids(sandbox.api("GET", f"/v1/subscriptions?status=all&starting_after={left}")) == []


def test_lists_can_be_filtered_by_the_object_that_the_members_belong_to(sandbox: Sandbox) -> None:
    mine = sandbox.story("sign_up", user_id="mine")["ids"]
    sandbox.story("sign_up", user_id="other")

    for path, id in (
        (f"/v1/subscriptions?customer={mine['customer']}", mine["subscription"]),
        (f"/v1/subscriptions?price={mine['price']}&customer={mine['customer']}", mine["subscription"]),
        (f"/v1/subscription_items?subscription={mine['subscription']}", mine["subscription_item"]),
        (f"/v1/invoices?subscription={mine['subscription']}", mine["invoice"]),
        (f"/v1/charges?payment_intent={mine['payment_intent']}", mine["charge"]),
        (f"/v1/payment_intents?customer={mine['customer']}", mine["payment_intent"]),
        (f"/v1/checkout/sessions?subscription={mine['subscription']}", mine["checkout_session"]),
    ):
        assert ids(sandbox.api("GET", path)) == [id], path
    payments = sandbox.api("GET", f"/v1/invoice_payments?invoice={mine['invoice']}")[2]["data"]
    assert [payment["payment"]["payment_intent"] for payment in payments] == [mine["payment_intent"]]
    assert len(ids(sandbox.api("GET", f"/v1/plans?product={mine['product']}"))) == 2
    assert len(ids(sandbox.api("GET", f"/v1/invoices/{mine['invoice']}/lines"))) == 1


def test_events_are_listed_by_type_and_can_be_fetched(sandbox: Sandbox) -> None:
    story = sandbox.story("sign_up", user_id="ada")
    event_ids = [event["id"] for event in story["events"]]

    listed = [event.id for event in sandbox.client().v1.events.list({"limit": 100}).auto_paging_iter()]

    assert listed == event_ids[::-1]
    paid = sandbox.api("GET", "/v1/events?types[]=invoice.paid&types[]=charge.succeeded")[2]["data"]
    assert [event["type"] for event in paid] == ["invoice.paid", "charge.succeeded"]
    assert sandbox.api("GET", f"/v1/events/{paid[0]['id']}")[2] == paid[0]
    missed = sandbox.api("GET", f"/v1/events?ending_before={event_ids[-3]}")
    assert ids(missed) == [event_ids[-1], event_ids[-2]]


def test_events_are_listed_for_thirty_days(sandbox: Sandbox) -> None:
    event = sandbox.story("sign_up", user_id="ada")["events"][0]["id"]

    sandbox.control("clock", advance=30 * 24 * 3600 + 60)

    assert ids(sandbox.api("GET", "/v1/events")) == []
    assert sandbox.api("GET", f"/v1/events/{event}")[0] == 404


def test_the_account_survives_a_restart(launch: Callable[..., Sandbox], tmp_path: object) -> None:
    state = f"{tmp_path}/state.jsonl"
    before = launch("--state", state)
    before.control("clock", now=1_790_000_000, frozen=True)
    made = before.story("sign_up", user_id="ada")["ids"]
    before.api("DELETE", "/v1/coupons/none")
    seen = [before.api("GET", path)[2] for path in ("/v1/subscriptions", "/v1/events?limit=100", "/v1/invoices")]
    before.process.kill()
    before.process.wait()

    after = launch("--state", state)

    assert [after.api("GET", p)[2] for p in ("/v1/subscriptions", "/v1/events?limit=100", "/v1/invoices")] == seen
    assert after.look("clock") == {"now": 1_790_000_021, "mode": "frozen"}
    assert after.story("sign_up", user_id="bob")["ids"]["customer"] != made["customer"]
