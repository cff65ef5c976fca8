"""The registry agrees with the tables, and reads each column from its field."""

from typing import Any

import pytest

from schema import mirror
from tests import factories
from tests.factories import NEW, NOW, OLD, Json
from worker.mirror.registry import TYPES, ObjectType, is_preview, object_type
from worker.mirror.rows import values

CHILDREN = {children.type.name: children.type for type_ in TYPES.values() for children in type_.children}
MIRRORED = TYPES | CHILDREN
IN_TABLES = [type_ for type_ in MIRRORED.values() if type_.table.name != "objects"]
BOOKKEEPING = {
    "object", "id", "account", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in",
    "content_hash", "shape", "rev", "unsettled", "synced_at",
}  # fmt: skip

# Columns that are read from a field with another name: type, path in the object, column.
ELSEWHERE = [
    ("price", "recurring.interval", "recurring_interval"),
    ("price", "recurring.interval_count", "recurring_interval_count"),
    ("price", "recurring.trial_period_days", "recurring_trial_period_days"),
    ("price", "recurring.usage_type", "recurring_usage_type"),
    ("item", "price.product", "product"),
    ("product_feature", "entitlement_feature.id", "entitlement_feature"),
    ("product_feature", "entitlement_feature.lookup_key", "entitlement_feature_lookup_key"),
    ("customer", "metadata.user_id", "metadata_user_id"),
    ("customer", "metadata.userId", "metadata_user_id"),
    ("customer", "invoice_settings.default_payment_method", "invoice_settings_default_payment_method"),
    ("payment_method", "card.brand", "card_brand"),
    ("payment_method", "card.last4", "card_last4"),
    ("payment_method", "card.exp_month", "card_exp_month"),
    ("payment_method", "card.exp_year", "card_exp_year"),
    ("subscription", "current_period_start", "current_period_start"),
    ("subscription", "items.data.0.current_period_start", "current_period_start"),
    ("subscription", "current_period_end", "current_period_end"),
    ("subscription", "items.data.0.current_period_end", "current_period_end"),
    ("subscription", "pause_collection.behavior", "pause_collection_behavior"),
    ("subscription", "pause_collection.resumes_at", "pause_collection_resumes_at"),
    ("subscription", "status_details.paused.subscription.type", "status_details_paused_subscription_type"),
    ("subscription", "billing_mode.type", "billing_mode_type"),
    ("subscription", "metadata.user_id", "metadata_user_id"),
    ("subscription", "metadata.userId", "metadata_user_id"),
    ("subscription", "metadata.organization_id", "metadata_organization_id"),
    ("subscription", "metadata.organizationId", "metadata_organization_id"),
    ("subscription_item", "price.id", "price"),
    ("subscription_item", "plan.id", "price"),
    ("subscription_item", "price.product", "product"),
    ("subscription_item", "plan.product", "product"),
    ("invoice", "parent.subscription_details.subscription", "subscription"),
    ("invoice", "subscription", "subscription"),
    ("invoice", "payment_intent", "payment_intent"),
    ("invoice", "payments.data.0.payment.payment_intent", "payment_intent"),
    ("invoice", "status_transitions.finalized_at", "status_transitions_finalized_at"),
    ("invoice", "status_transitions.paid_at", "status_transitions_paid_at"),
    ("invoice", "status_transitions.voided_at", "status_transitions_voided_at"),
    ("invoice", "status_transitions.marked_uncollectible_at", "status_transitions_marked_uncollectible_at"),
    ("line_item", "pricing.price_details.price", "price"),
    ("line_item", "price.id", "price"),
    ("line_item", "plan.id", "price"),
    ("line_item", "pricing.price_details.product", "product"),
    ("line_item", "price.product", "product"),
    ("line_item", "plan.product", "product"),
    ("line_item", "subscription", "subscription"),
    ("line_item", "parent.subscription_item_details.subscription", "subscription"),
    ("line_item", "parent.invoice_item_details.subscription", "subscription"),
    ("line_item", "subscription_item", "subscription_item"),
    ("line_item", "parent.subscription_item_details.subscription_item", "subscription_item"),
    ("line_item", "proration", "proration"),
    ("line_item", "parent.subscription_item_details.proration", "proration"),
    ("line_item", "parent.invoice_item_details.proration", "proration"),
    ("line_item", "period.start", "period_start"),
    ("line_item", "period.end", "period_end"),
    ("invoice_payment", "payment.type", "payment_type"),
    ("invoice_payment", "payment.payment_intent", "payment_payment_intent"),
    ("invoice_payment", "payment.charge", "payment_charge"),
    ("invoice_payment", "status_transitions.paid_at", "status_transitions_paid_at"),
    ("credit_note", "post_payment_amount", "returned"),
    ("dispute", "evidence_details.due_by", "evidence_details_due_by"),
    ("checkout.session", "customer_details.email", "customer_details_email"),
    ("checkout.session", "metadata.user_id", "metadata_user_id"),
    ("checkout.session", "metadata.userId", "metadata_user_id"),
    ("checkout.session", "metadata.product", "metadata_product"),
]
_SAID = {(type_, column) for type_, _, column in ELSEWHERE}
ITS_OWN = [
    (type_.name, column.name, column.name)
    for type_ in MIRRORED.values()
    for column in type_.columns
    if (type_.name, column.name) not in _SAID
]
# One value of each kind, as Stripe sends it and as the mirror stores it.
VALUES: dict[str, tuple[Any, Any]] = {
    "text": ("said", "said"),
    "id": ("id_1", "id_1"),
    "bigint": (42, 42),
    "timestamptz": (NOW, NOW),
    "boolean": (False, False),
    "numeric": ("12.5", "12.5"),
    "jsonb": ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
    "object": ({"b": "2"}, '{"b":"2"}'),
}


def columns(type_: ObjectType, obj: Json) -> dict[str, Any]:
    return {column.name: value for column, value in zip(type_.columns, values(type_, obj), strict=True)}


def holding(path: str, value: Any) -> Any:
    """The smallest object with `value` at `path`. A 0 in the path is the first element of a list."""
    for part in reversed(path.split(".")):
        value = [{"id": "child_1"} | value] if part == "0" else {part: value}
    return value


@pytest.mark.parametrize("type_", IN_TABLES, ids=lambda type_: type_.name)
def test_the_registry_and_the_table_have_the_same_columns(type_: ObjectType) -> None:
    read = [column.name for column in type_.columns]

    assert sorted([*read, *BOOKKEEPING - {"object"}]) == sorted(type_.table.columns)


def test_every_table_of_the_mirror_belongs_to_one_type() -> None:
    owners = [type_.table.name for type_ in IN_TABLES]

    assert sorted([*owners, "objects"]) == sorted(mirror.tables)


def test_the_table_of_other_objects_adds_only_customer_and_parent_to_the_common_columns() -> None:
    assert set(mirror.tables["objects"].columns) == BOOKKEEPING | {"customer", "parent"}


def test_every_column_read_from_a_field_with_another_name_exists() -> None:
    assert {(type_, column) for type_, _, column in ELSEWHERE} <= {
        (type_.name, column.name) for type_ in MIRRORED.values() for column in type_.columns
    }


@pytest.mark.parametrize(("type_", "path", "column"), [*ELSEWHERE, *ITS_OWN])
def test_a_column_is_read_from_the_path_where_stripe_sends_it(type_: str, path: str, column: str) -> None:
    kind = next(known.kind for known in MIRRORED[type_].columns if known.name == column)
    sent, stored = VALUES[kind]

    row = columns(MIRRORED[type_], {"id": "x_1", "object": type_} | holding(path, sent))

    named_whole = {"metadata"} - {path}  # metadata is also stored whole, in a column of its own
    assert {name: value for name, value in row.items() if value is not None and name not in named_whole} == {
        column: stored
    }


@pytest.mark.parametrize(
    ("type_", "obj", "column", "value"),
    [
        ("subscription", {"customer": {"id": "cus_1", "object": "customer"}}, "customer", "cus_1"),
        ("subscription", {"latest_invoice": factories.invoice("in_7")}, "latest_invoice", "in_7"),
        ("product", {"default_price": factories.price("price_7")}, "default_price", "price_7"),
        ("checkout.session", {"payment_intent": factories.payment_intent("pi_7")}, "payment_intent", "pi_7"),
    ],
)
def test_an_expanded_reference_is_stored_as_its_id(type_: str, obj: Json, column: str, value: str) -> None:
    assert columns(TYPES[type_], obj)[column] == value


def test_a_line_with_an_expanded_price_has_the_price_id_and_product() -> None:
    line = factories.line_item()
    line["pricing"]["price_details"]["price"] = factories.price("price_7")

    row = columns(CHILDREN["line_item"], line)

    assert (row["price"], row["product"]) == ("price_7", "prod_pro")


def test_a_subscriptions_period_takes_the_earliest_start_and_end_of_its_items() -> None:
    month = factories.subscription_item("si_1", period_start=NOW, period_end=NOW + 31)
    year = factories.subscription_item("si_2", period_start=NOW - 5, period_end=NOW + 365)

    row = columns(TYPES["subscription"], factories.subscription(items=[year, month]))

    assert (row["current_period_start"], row["current_period_end"]) == (NOW - 5, NOW + 31)


@pytest.mark.parametrize(
    ("obj", "kept"),
    [
        (factories.subscription(), "sub_1"),
        (factories.customer(), "cus_jenny"),
    ],
)
def test_the_customer_of_an_object_is_read(obj: Json, kept: str) -> None:
    assert obj["id"] == kept
    assert object_type(obj["object"]).customer(obj) == "cus_jenny"


# Old and new API shapes of one object


def both(make: Any, **fields: Any) -> tuple[Json, Json]:
    return make(shape=OLD, **fields), make(shape=NEW, **fields)


@pytest.mark.parametrize(
    ("pair", "only_new"),
    [
        (both(factories.subscription, user_id="user_1", quantity=3), {"billing_mode_type"}),
        (both(factories.subscription, status="past_due", cancel_at_period_end=True), {"billing_mode_type"}),
        (both(factories.invoice, payments=True), set()),
        (both(factories.invoice, status="open", payments=True), set()),
        (both(factories.invoice, subscription=None, payment_intent=None, lines=[]), set()),
        (both(factories.line_item, quantity=2, proration=True), set()),
        (both(factories.line_item), set()),
        (both(factories.subscription_item), {"current_period_start", "current_period_end", "billed_until"}),
        (both(factories.charge, amount_refunded=2000), {"invoice"}),
        (both(factories.payment_intent), {"invoice"}),
        (both(factories.payment_intent, invoice=None, status="canceled"), set()),
    ],
)
def test_both_shapes_of_an_object_give_the_same_columns(pair: tuple[Json, Json], only_new: set[str]) -> None:
    old, new = (columns(MIRRORED[obj["object"]], obj) for obj in pair)

    assert {name for name in old if old[name] != new[name]} == only_new


# Types


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("subscription", "/v1/subscriptions/{id}"),
        ("checkout.session", "/v1/checkout/sessions/{id}"),
        ("billing.credit_grant", "/v1/billing/credit_grants/{id}"),
        ("subscription_schedule", "/v1/subscription_schedules/{id}"),
        ("discount", None),
        ("balance", None),
        ("no.such.type", None),
    ],
)
def test_each_type_has_its_url_or_cannot_be_fetched(name: str, url: str | None) -> None:
    assert object_type(name).url == url
    assert object_type(name).fetchable is (url is not None)


def test_only_products_plans_and_coupons_can_be_recreated() -> None:
    assert {type_.name for type_ in TYPES.values() if type_.reborn} == {"product", "plan", "coupon"}


@pytest.mark.parametrize(
    ("name", "final"),
    [
        ("subscription", {"canceled", "incomplete_expired"}),
        ("invoice", {"paid", "void"}),
        ("payment_intent", {"succeeded", "canceled"}),
        ("checkout.session", {"complete", "expired"}),
        ("invoice_payment", {"paid", "canceled"}),
        ("refund", {"failed", "canceled"}),
        ("subscription_schedule", {"canceled", "completed", "released"}),
        ("setup_intent", {"succeeded", "canceled"}),
        ("product", set()),
        ("no.such.type", set()),
    ],
)
def test_a_final_status_is_one_that_never_changes_again(name: str, final: set[str]) -> None:
    assert object_type(name).final == final


def test_a_closed_dispute_and_a_succeeded_refund_may_still_change() -> None:
    assert not object_type("dispute").final & {"won", "lost"}
    assert "succeeded" not in object_type("refund").final


@pytest.mark.parametrize(("id_", "preview"), [("upcoming_in_1", True), ("in_1", False), ("upcoming", False)])
def test_a_preview_is_recognized_by_its_id(id_: str, preview: bool) -> None:
    assert is_preview(id_) is preview
