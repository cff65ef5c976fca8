"""The sandbox signs deliveries as Stripe does, repeats them until they are acknowledged, and can change their order."""

import time
from collections.abc import Callable
from datetime import datetime

import pytest
import stripe

from tests.sandbox.conftest import Receiver, Sandbox


def test_every_event_is_delivered_once_with_a_valid_signature(sandbox: Sandbox, endpoint: Receiver) -> None:
    story = sandbox.story("sign_up", user_id="ada")
    sandbox.control("deliveries", drain=10)

    heard = endpoint.all()

    assert sorted(delivery.event["id"] for delivery in heard) == sorted(event["id"] for event in story["events"])
    for delivery in heard:
        assert stripe.WebhookSignature.verify_header(
            delivery.body.decode(), delivery.signature, endpoint.secret, tolerance=300
        )
        assert delivery.event["pending_webhooks"] == 1


def test_a_delivered_event_equals_the_one_in_the_list_of_events(sandbox: Sandbox, endpoint: Receiver) -> None:
    sandbox.story("sign_up", user_id="ada")
    sandbox.story("upgrade", user_id="ada", price="starter_monthly")
    sandbox.control("deliveries", drain=10)

    for delivery in endpoint.all():
        listed = sandbox.api("GET", f"/v1/events/{delivery.event['id']}")[2]
        assert {**delivery.event, "pending_webhooks": 0} == listed


def test_the_signature_uses_the_real_time_not_the_sandbox_s_clock(sandbox: Sandbox, endpoint: Receiver) -> None:
    sandbox.control("clock", now=1_790_000_000, frozen=True)
    sandbox.api("POST", "/v1/products", "name=Pro")

    delivery = endpoint.next()

    assert delivery.event["created"] == 1_790_000_000
    assert abs(int(delivery.signature.split(",")[0].removeprefix("t=")) - time.time()) < 60


def test_two_secrets_make_two_signatures(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.control("endpoints", url=receiver.url, secrets=["whsec_old", "whsec_new"])
    sandbox.api("POST", "/v1/products", "name=Pro")

    delivery = receiver.next()

    assert delivery.signature.count("v1=") == 2
    for secret in ("whsec_old", "whsec_new"):
        stripe.WebhookSignature.verify_header(delivery.body.decode(), delivery.signature, secret)


def test_an_event_is_redelivered_until_it_is_acknowledged(sandbox: Sandbox, endpoint: Receiver) -> None:
    sandbox.control("deliveries", retry_seconds=[0.01])
    endpoint.statuses += [500, 302, 400]

    product = sandbox.api("POST", "/v1/products", "name=Pro")[2]["id"]
    counts = sandbox.control("deliveries", drain=10)

    assert [delivery.event["data"]["object"]["id"] for delivery in endpoint.all()] == [product] * 4
    assert counts["by_status"] == {"500": 1, "302": 1, "400": 1, "200": 1}
    assert sandbox.api("GET", "/v1/events")[2]["data"][0]["pending_webhooks"] == 0


def test_dropped_deliveries_are_found_in_the_list_of_failed_ones(sandbox: Sandbox, endpoint: Receiver) -> None:
    sandbox.control("deliveries", drop=1.0)
    lost = sandbox.api("POST", "/v1/products", "name=lost")[2]["id"]
    sandbox.control("deliveries", drop=0.0)
    sandbox.api("POST", "/v1/products", "name=found")
    sandbox.control("deliveries", drain=10)

    failed = sandbox.api("GET", "/v1/events?delivery_success=false")[2]["data"]

    assert [event["data"]["object"]["id"] for event in failed] == [lost]
    assert len(endpoint.all()) == 1


def test_paused_deliveries_arrive_in_any_order_when_flushed(sandbox: Sandbox, endpoint: Receiver) -> None:
    sandbox.control("deliveries", paused=True, concurrency=1)
    delivered = [event["id"] for event in sandbox.story("sign_up", user_id="ada")["events"]]
    assert endpoint.all() == []

    sandbox.control("deliveries", flush=True, shuffle=True)

    heard = [delivery.event["id"] for delivery in endpoint.all()]
    assert sorted(heard) == sorted(delivered)
    assert heard != delivered


def test_duplicates_repeat_the_same_event(sandbox: Sandbox, endpoint: Receiver) -> None:
    sandbox.control("deliveries", duplicate=1.0, reorder_seconds=0.05)

    sandbox.api("POST", "/v1/products", "name=Pro")
    sandbox.control("deliveries", drain=10)

    first, second = endpoint.all()
    assert first.event["id"] == second.event["id"]


def test_an_endpoint_gets_only_its_selected_types_in_its_api_version(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.client().v1.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": ["customer.subscription.updated"], "api_version": "2024-06-20"}
    )
    sandbox.story("sign_up", user_id="ada")
    sandbox.control("deliveries", drain=10)

    (delivery,) = receiver.all()

    assert delivery.event["api_version"] == "2024-06-20"
    assert delivery.event["data"]["object"]["current_period_end"] > delivery.event["created"]
    assert delivery.event["data"]["previous_attributes"] == {"status": "incomplete"}


def test_thin_events_name_their_object_and_their_snapshot(sandbox: Sandbox, receiver: Receiver) -> None:
    secret = "whsec_thin"
    sandbox.control("endpoints", url=receiver.url, secrets=[secret], payload="both")
    product = sandbox.api("POST", "/v1/products", "name=Pro")[2]["id"]
    sandbox.control("deliveries", drain=10)
    heard = {delivery.event["object"]: delivery for delivery in receiver.all()}

    thin = sandbox.client().parse_event_notification(
        heard["v2.core.event"].body, heard["v2.core.event"].signature, secret
    )

    assert thin.type == "v1.product.created"
    body = heard["v2.core.event"].event
    assert body["snapshot_event"] == heard["event"].event["id"]
    assert body["related_object"] == {"id": product, "type": "product", "url": f"/v1/products/{product}"}
    assert datetime.fromisoformat(body["created"]).timestamp() >= heard["event"].event["created"]
    assert sandbox.api("GET", f"/v2/core/events/{thin.id}")[2]["id"] == thin.id
    assert sandbox.api("GET", "/v2/core/events")[2]["data"][0]["id"] == thin.id


def test_an_endpoint_from_the_command_line_gets_deliveries(launch: Callable[..., Sandbox], receiver: Receiver) -> None:
    mine = launch("--webhook-url", receiver.url, "--webhook-secret", "whsec_line", "--webhook-version", "2024-06-20")

    mine.api("POST", "/v1/products", "name=Pro")

    delivery = receiver.next()
    assert delivery.event["api_version"] == "2024-06-20"
    stripe.WebhookSignature.verify_header(delivery.body.decode(), delivery.signature, "whsec_line")


@pytest.mark.parametrize("stubs", [False, True])
def test_a_deletion_shows_the_last_object_or_a_stub(sandbox: Sandbox, endpoint: Receiver, stubs: bool) -> None:
    sandbox.control("deliveries", deletion_stubs=stubs)
    customer = sandbox.api("POST", "/v1/customers", "name=Ada")[2]["id"]
    sandbox.api("DELETE", f"/v1/customers/{customer}")
    sandbox.control("deliveries", drain=10)

    (delivered,) = [delivery.event for delivery in endpoint.all() if delivery.event["type"] == "customer.deleted"]

    stub = {"id": customer, "object": "customer", "deleted": True}
    assert (delivered["data"]["object"] == stub) is stubs
    assert delivered["data"]["object"]["id"] == customer
    sandbox.control("deliveries", deletion_stubs=False)
