"""The same object in two API versions: each version has the fields in its own places."""

from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import Sandbox

OLD = "2024-06-20"
PATHS = {
    "product": "/v1/products",
    "price": "/v1/prices",
    "plan": "/v1/plans",
    "customer": "/v1/customers",
    "subscription": "/v1/subscriptions",
    "invoice": "/v1/invoices",
    "invoice_payment": "/v1/invoice_payments",
    "payment_intent": "/v1/payment_intents",
    "charge": "/v1/charges",
    "refund": "/v1/refunds",
    "dispute": "/v1/disputes",
    "credit_note": "/v1/credit_notes",
    "checkout.session": "/v1/checkout/sessions",
    "coupon": "/v1/coupons",
    "payment_method": "/v1/payment_methods",
}
CLASSES: dict[str, Any] = {
    "product": stripe.Product,
    "price": stripe.Price,
    "plan": stripe.Plan,
    "customer": stripe.Customer,
    "subscription": stripe.Subscription,
    "invoice": stripe.Invoice,
    "invoice_payment": stripe.InvoicePayment,
    "payment_intent": stripe.PaymentIntent,
    "charge": stripe.Charge,
    "refund": stripe.Refund,
    "dispute": stripe.Dispute,
    "credit_note": stripe.CreditNote,
    "checkout.session": stripe.checkout.Session,
    "coupon": stripe.Coupon,
    "payment_method": stripe.PaymentMethod,
}


@pytest.fixture
def made(sandbox: Sandbox) -> dict[str, Any]:
    """The ids of a story. The sandbox then has at least one object of each type."""
    ids: dict[str, Any] = sandbox.story("zero_invoice", user_id="free")["ids"]
    ids = sandbox.story("sign_up", user_id="ada")["ids"]
    sandbox.story("refund", user_id="ada", amount=100)
    sandbox.story("credit_note", user_id="ada", amount=100)
    sandbox.story("dispute", user_id="ada")
    return ids


def test_every_field_exists_in_the_sdk(sandbox: Sandbox, made: dict[str, Any]) -> None:
    for kind, path in PATHS.items():
        shown = sandbox.api("GET", path)[2]["data"][0]
        known = set(CLASSES[kind].__annotations__)
        assert set(shown) <= known | {"type"}, (kind, set(shown) - known)
        assert shown["object"] == kind


def test_the_sdk_reads_every_object(sandbox: Sandbox, made: dict[str, Any]) -> None:
    client = sandbox.client().v1

    subscription = client.subscriptions.retrieve(made["subscription"])
    invoice = client.invoices.retrieve(made["invoice"], {"expand": ["payments"]})

    assert subscription.items.data[0].price.id == made["price"]
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == made["subscription"]
    assert invoice.payments is not None
    assert invoice.payments.data[0].payment.payment_intent == made["payment_intent"]


def test_the_period_of_a_subscription_moves_between_shapes(sandbox: Sandbox, made: dict[str, Any]) -> None:
    path = f"/v1/subscriptions/{made['subscription']}"
    new = sandbox.api("GET", path)[2]
    old = sandbox.api("GET", path, Stripe_Version=OLD)[2]

    assert "current_period_end" not in new
    assert "current_period_end" not in old["items"]["data"][0]
    assert old["current_period_end"] == new["items"]["data"][0]["current_period_end"]
    assert old["plan"]["id"] == made["price"]
    assert old["quantity"] == 1
    assert old["items"]["total_count"] == 1
    assert "billing_mode" in new
    assert "billing_mode" not in old


def test_the_subscription_and_payment_of_an_invoice_move_between_shapes(sandbox: Sandbox, made: dict[str, Any]) -> None:
    path = f"/v1/invoices/{made['invoice']}"
    new = sandbox.api("GET", path)[2]
    old = sandbox.api("GET", path, Stripe_Version=OLD)[2]

    assert {"subscription", "payment_intent", "charge", "paid", "payments"}.isdisjoint(new)
    assert (old["subscription"], old["payment_intent"], old["charge"]) == (
        made["subscription"],
        made["payment_intent"],
        made["charge"],
    )
    assert old["paid"] is True
    new_line, old_line = new["lines"]["data"][0], old["lines"]["data"][0]
    assert new_line["pricing"]["price_details"] == {"price": made["price"], "product": made["product"]}
    assert new_line["parent"]["subscription_item_details"]["subscription_item"] == made["subscription_item"]
    assert old_line["price"]["id"] == old_line["plan"]["id"] == made["price"]
    assert old_line["subscription_item"] == made["subscription_item"]
    assert old_line["proration"] is False


def test_a_payment_names_its_invoice_only_in_the_old_shape(sandbox: Sandbox, made: dict[str, Any]) -> None:
    for path in (f"/v1/payment_intents/{made['payment_intent']}", f"/v1/charges/{made['charge']}"):
        assert "invoice" not in sandbox.api("GET", path)[2]
        assert sandbox.api("GET", path, Stripe_Version=OLD)[2]["invoice"] == made["invoice"]


def test_a_discount_is_an_id_in_the_new_shape_and_an_object_in_the_old(sandbox: Sandbox) -> None:
    made = sandbox.story("zero_invoice", user_id="free")["ids"]
    path = f"/v1/subscriptions/{made['subscription']}"

    new, old = sandbox.api("GET", path)[2], sandbox.api("GET", path, Stripe_Version=OLD)[2]

    assert new["discounts"][0].startswith("di_")
    assert "discount" not in new
    assert old["discount"]["coupon"]["id"] == "FREE"
    expanded = sandbox.api("GET", f"{path}?expand[]=discounts")[2]
    assert expanded["discounts"][0]["source"] == {"coupon": "FREE", "type": "coupon"}


def test_an_unknown_version_is_refused_and_a_nearby_one_is_echoed(sandbox: Sandbox) -> None:
    assert sandbox.api("GET", "/v1/products", Stripe_Version="yesterday")[0] == 400
    assert sandbox.api("GET", "/v1/products", Stripe_Version="2025-09-30.clover")[1]["stripe-version"] == (
        "2025-09-30.clover"
    )


def test_history_keeps_every_version(sandbox: Sandbox, made: dict[str, Any]) -> None:
    versions = sandbox.look(f"history?type=subscription&id={made['subscription']}")["versions"]

    assert [version["object"]["status"] for version in versions] == ["incomplete", "active"]


def test_an_event_shows_the_state_at_its_creation(sandbox: Sandbox, made: dict[str, Any]) -> None:
    sandbox.api("POST", f"/v1/prices/{made['price']}", "nickname=renamed")

    event = sandbox.api("GET", "/v1/events?type=customer.subscription.created")[2]["data"][0]

    assert event["data"]["object"]["status"] == "incomplete"
    assert event["data"]["object"]["items"]["data"][0]["price"]["nickname"] is None
    now = sandbox.api("GET", f"/v1/subscriptions/{made['subscription']}")[2]
    assert now["items"]["data"][0]["price"]["nickname"] == "renamed"
