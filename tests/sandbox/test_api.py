"""Parts of the sandbox's API that all operations share: keys, errors, limits, and staged faults."""

import base64
import contextlib
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe

from tests.sandbox.conftest import Sandbox


def basic(key: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk_live_1"}, {"Authorization": "Bearer rk_test_1"}])
def test_a_request_without_a_valid_key_is_refused(sandbox: Sandbox, headers: dict[str, str]) -> None:
    status, _, answer = sandbox.http("GET", "/v1/products", headers=headers)

    assert status == 401
    assert answer["error"]["type"] == "invalid_request_error"


def test_both_ways_of_sending_a_key_are_accepted(sandbox: Sandbox) -> None:
    assert sandbox.http("GET", "/v1/products", headers=basic("sk_test_x"))[0] == 200
    assert sandbox.http("GET", "/v1/products", headers={"Authorization": "Bearer sk_test_x"})[0] == 200


def test_a_restricted_key_lacks_its_denied_permissions(sandbox: Sandbox) -> None:
    key = sandbox.control("keys", deny=["product", "invoice_write"])["key"]
    client = sandbox.client(key).v1

    with pytest.raises(stripe.PermissionError, match="Having the 'rak_product_read' permission would allow"):
        client.products.list()

    assert client.customers.list().data == []
    assert client.invoices.list().data == []


def test_an_expired_key_is_reported(sandbox: Sandbox) -> None:
    sandbox.control("keys", expire="sk_test_old")

    with pytest.raises(stripe.AuthenticationError) as caught:
        sandbox.client("sk_test_old").v1.products.list()

    assert isinstance(caught.value.json_body, dict)
    assert caught.value.json_body["error"]["code"] == "api_key_expired"


def test_an_answer_carries_its_request_id_version_and_time(sandbox: Sandbox) -> None:
    _, headers, _ = sandbox.api("GET", "/v1/account", Stripe_Version="2024-06-20")

    assert headers["request-id"].startswith("req_")
    assert headers["stripe-version"] == "2024-06-20"
    assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 5


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param"),
    [
        ("GET", "/v1/subscriptions/sub_none", None, 404, "resource_missing", "id"),
        ("GET", "/v1/nothing", None, 404, None, None),
        ("GET", "/v1/subscription_items", None, 400, "parameter_missing", "subscription"),
        ("POST", "/v1/products", "", 400, "parameter_missing", "name"),
        ("POST", "/v1/products", "name=P&colour=red", 400, "parameter_unknown", "colour"),
        ("POST", "/v1/prices", "product=prod_none&unit_amount=1&currency=usd", 400, "resource_missing", "product"),
        ("POST", "/v1/refunds", "charge=ch_none", 400, "resource_missing", "charge"),
        ("GET", "/v1/events?expand[]=data.data.object.lines", None, 400, None, "expand"),
    ],
)
def test_errors_have_stripe_s_wording(
    sandbox: Sandbox, method: str, path: str, body: str | None, status: int, code: str | None, param: str | None
) -> None:
    answered, _, answer = sandbox.api(method, path, body)

    assert answered == status
    error = answer["error"]
    assert (error.get("code"), error.get("param"), error["type"]) == (code, param, "invalid_request_error")
    assert error["message"]


def test_a_custom_id_can_be_reused_only_after_its_object_is_deleted(sandbox: Sandbox) -> None:
    assert sandbox.api("POST", "/v1/products", "id=gold&name=Gold")[0] == 200
    assert sandbox.api("POST", "/v1/products", "id=gold&name=Gold")[2]["error"]["code"] == "resource_already_exists"
    assert sandbox.api("DELETE", "/v1/products/gold")[2] == {"id": "gold", "object": "product", "deleted": True}
    assert sandbox.api("POST", "/v1/products", "id=gold&name=New")[2]["name"] == "New"


def test_a_repeated_post_with_its_idempotency_key_happens_once(sandbox: Sandbox) -> None:
    first = sandbox.api("POST", "/v1/products", "name=Pro", Idempotency_Key="k1")
    again = sandbox.api("POST", "/v1/products", "name=Pro", Idempotency_Key="k1")
    other = sandbox.api("POST", "/v1/products", "name=Max", Idempotency_Key="k1")

    assert again[2] == first[2]
    assert again[1]["idempotent-replayed"] == "true"
    assert (other[0], other[2]["error"]["type"]) == (400, "idempotency_error")
    events = sandbox.api("GET", "/v1/events")[2]["data"]
    assert [event["request"]["idempotency_key"] for event in events] == ["k1"]


def test_metadata_is_merged_and_the_event_of_an_update_shows_the_replaced_values(sandbox: Sandbox) -> None:
    product = sandbox.api("POST", "/v1/products", "name=P&metadata[a]=1&metadata[b]=2")[2]["id"]

    sandbox.api("POST", f"/v1/products/{product}", "metadata[a]=&metadata[b]=3&metadata[c]=4")

    event = sandbox.api("GET", "/v1/events?type=product.updated")[2]["data"][0]
    assert event["data"]["object"]["metadata"] == {"b": "3", "c": "4"}
    assert event["data"]["previous_attributes"]["metadata"] == {"a": "1", "b": "2", "c": None}


def test_an_update_that_changes_nothing_makes_no_event(sandbox: Sandbox) -> None:
    product = sandbox.api("POST", "/v1/products", "name=P")[2]["id"]

    sandbox.api("POST", f"/v1/products/{product}", "name=P&active=true")

    assert [event["type"] for event in sandbox.api("GET", "/v1/events")[2]["data"]] == ["product.created"]


def test_a_fault_affects_the_named_operations_for_a_number_of_requests(sandbox: Sandbox) -> None:
    sandbox.control("faults", operation="GET /v1/products", rate429=1, reason="endpoint-rate", requests=2)

    struck = [sandbox.api("GET", "/v1/products") for _ in range(3)]

    assert [status for status, _, _ in struck] == [429, 429, 200]
    assert struck[0][1]["stripe-rate-limited-reason"] == "endpoint-rate"
    assert "retry-after" not in struck[0][1]
    assert struck[0][2]["error"]["code"] == "rate_limit"
    assert sandbox.api("GET", "/v1/customers")[0] == 200
    assert sandbox.look("stats")["rate_limited"] == 2


def test_a_fault_can_be_a_server_error(sandbox: Sandbox) -> None:
    sandbox.control("faults", rate500=1)

    with pytest.raises(stripe.APIError):
        sandbox.client().v1.products.list()

    sandbox.control("faults", clear=True)
    assert sandbox.api("GET", "/v1/products")[0] == 200


def test_each_operation_and_the_account_have_their_own_limit(sandbox: Sandbox) -> None:
    sandbox.control("faults", limits={"account": 8, "operation": 5})

    products = [sandbox.api("GET", "/v1/products/none") for _ in range(6)]
    prices = [sandbox.api("GET", "/v1/prices") for _ in range(5)]

    assert products[-1][1].get("stripe-rate-limited-reason") == "endpoint-rate"
    reasons = {headers.get("stripe-rate-limited-reason") for status, headers, _ in prices if status == 429}
    assert reasons == {"global-rate"}
    assert sandbox.look("stats")["requests"]["GET /v1/products/{id}"] == 6


def test_reads_lag_behind_writes_like_a_replica(sandbox: Sandbox) -> None:
    sandbox.control("faults", replica_lag_seconds=0.3)
    product = sandbox.api("POST", "/v1/products", "name=P")[2]["id"]

    early = (sandbox.api("GET", f"/v1/products/{product}")[0], sandbox.api("GET", "/v1/products")[2]["data"])
    deadline = time.monotonic() + 5
    while sandbox.api("GET", f"/v1/products/{product}")[0] == 404 and time.monotonic() < deadline:
        pass

    assert early == (404, [])
    assert [member["id"] for member in sandbox.api("GET", "/v1/products")[2]["data"]] == [product]


def test_the_date_header_can_be_skewed(sandbox: Sandbox) -> None:
    sandbox.control("clock", now=1_790_000_000, frozen=True)
    sandbox.control("faults", date_skew_seconds=-4)

    _, headers, _ = sandbox.api("GET", "/v1/products")

    assert parsedate_to_datetime(headers["date"]).timestamp() == 1_790_000_000 - 4


def test_references_are_expanded_and_lists_are_included_on_request(sandbox: Sandbox) -> None:
    made = sandbox.story("sign_up", user_id="ada")["ids"]

    invoice = sandbox.api("GET", f"/v1/invoices/{made['invoice']}?expand[]=payments&expand[]=customer")[2]
    listed = sandbox.api("GET", "/v1/subscriptions?expand[]=data.latest_invoice.customer")[2]["data"][0]

    assert invoice["customer"]["email"] == "ada@example.com"
    assert invoice["payments"]["data"][0]["payment"]["payment_intent"] == made["payment_intent"]
    assert listed["latest_invoice"]["customer"]["id"] == made["customer"]
    assert sandbox.api("GET", "/v1/subscriptions?expand[]=data.colour")[0] == 400


def test_the_control_state_shows_every_object_over_several_pages(sandbox: Sandbox) -> None:
    sandbox.control("populate", products=7)

    seen: list[Any] = []
    page = sandbox.look("state?type=product&limit=3")
    seen += page["objects"]
    while page["next"]:
        page = sandbox.look(f"state?type=product&limit=3&after={page['next']}")
        seen += page["objects"]

    listed = sandbox.api("GET", "/v1/products?limit=100")[2]["data"]
    assert seen == listed[::-1]
    assert sandbox.look("state")["product"] == 7


def test_the_help_names_every_story_and_control(sandbox: Sandbox) -> None:
    listing = sandbox.look("")

    assert {"sign_up", "renewal", "dispute"} <= {story["story"] for story in listing["stories"]}
    assert all(story["about"] for story in listing["stories"])
    assert "POST /_sandbox/clock" in listing["controls"]


def test_the_sandbox_stops_at_once_even_while_a_request_hangs(launch: Callable[..., Sandbox]) -> None:
    mine = launch()
    mine.control("faults", hang=True)
    hanging = HTTPConnection(urlsplit(mine.url).netloc, timeout=5)
    hanging.request("GET", "/v1/account", headers=basic("sk_test_x"))
    while "GET /v1/account" not in mine.look("stats")["requests"]:
        pass

    began = time.monotonic()
    mine.process.terminate()
    status = mine.process.wait(5)

    assert (status, time.monotonic() - began < 1) == (0, True)
    with contextlib.suppress(OSError):
        hanging.close()


def test_the_sandbox_listens_only_on_loopback(launch: Callable[..., Sandbox]) -> None:
    with pytest.raises(RuntimeError, match="did not start: 2"):
        launch("--host", "0.0.0.0")
