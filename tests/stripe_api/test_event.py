"""Reading the body of an event."""

import pytest

from tests.factories import NEW, NOW, OLD, Json, customer, event, product, stub, subscription, thin_event
from worker.stripe_api.event import CREATED, DELETED, UPDATED, NotAnEvent, read_event

BALANCE: Json = {"object": "balance", "available": []}


def test_a_snapshot_event_contains_its_object() -> None:
    obj = subscription("sub_1")

    read = read_event(event("customer.subscription.updated", obj, id="evt_1", previous={"status": "incomplete"}))

    assert (read.id, read.type, read.created) == ("evt_1", "customer.subscription.updated", NOW)
    assert (read.object_type, read.object_id, read.object) == ("subscription", "sub_1", obj)
    assert (read.previous, read.thin, read.account, read.livemode) == ({"status": "incomplete"}, False, "", False)


def test_a_thin_event_names_its_object_but_does_not_contain_it() -> None:
    related = {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"}

    read = read_event(thin_event(related=related, created="2026-07-01T00:00:58.137Z"))

    assert read.thin
    assert (read.object_type, read.object_id, read.object) == ("subscription", "sub_1", None)
    assert read.created == 1_782_864_058


def test_a_thin_event_may_name_no_object() -> None:
    read = read_event(thin_event("v2.core.event_destination.ping"))

    assert (read.object_type, read.object_id) == (None, None)


def test_a_thin_event_of_a_singleton_has_no_id() -> None:
    read = read_event(thin_event("v1.balance.available", related={"type": "balance", "url": "/v1/balance"}))

    assert (read.object_type, read.object_id) == ("balance", None)


def test_the_account_is_read_from_snapshot_and_thin_events() -> None:
    assert read_event(event("customer.created", customer(), account="acct_1")).account == "acct_1"
    assert read_event(thin_event(context="acct_1")).account == "acct_1"


def test_livemode_is_read_from_the_event() -> None:
    assert read_event(event("customer.created", customer(livemode=False), livemode=True)).livemode


@pytest.mark.parametrize(
    ("obj", "object_id"),
    [
        (BALANCE, "balance"),
        ({"object": "balance_settings"}, "balance_settings"),
        ({"object": "tax.settings"}, "tax.settings"),
        ({"object": "cash_balance", "customer": "cus_1"}, "cus_1"),
        ({"object": "entitlements.active_entitlement_summary", "customer": "cus_1"}, "cus_1"),
        (
            {"object": "billing.alert_triggered", "alert": {"id": "alrt_1"}, "customer": "cus_1", "created": 7},
            "alrt_1:cus_1:7",
        ),
        ({"object": "billing.alert_triggered", "alert": None}, None),
        ({"object": "invoice", "customer": "cus_1"}, None),
        ({"object": "cash_balance", "customer": None}, None),
        ({"object": "customer", "id": ""}, None),
        ({"object": "customer", "id": 7}, None),
    ],
)
def test_an_object_without_an_id_is_kept_under_its_type_or_owner(obj: Json, object_id: str | None) -> None:
    assert read_event(event("x.updated", obj)).object_id == object_id


@pytest.mark.parametrize(
    ("type_", "rank"),
    [
        ("customer.created", CREATED),
        ("charge.dispute.created", CREATED),
        ("customer.updated", UPDATED),
        ("invoice.paid", UPDATED),
        ("customer.deleted", DELETED),
        ("customer.subscription.deleted", DELETED),
    ],
)
def test_within_a_second_creations_come_first_and_deletions_last(type_: str, rank: int) -> None:
    assert read_event(event(type_, customer())).rank == rank


@pytest.mark.parametrize(
    ("type_", "obj", "deletes"),
    [
        ("product.deleted", product(), True),
        ("product.deleted", stub(product()), True),
        ("customer.updated", stub(customer()), True),
        ("product.updated", product(), False),
        ("customer.subscription.deleted", subscription(status="canceled"), False),
        ("customer.discount.deleted", {"object": "discount", "id": "di_1"}, True),
    ],
)
def test_only_events_that_leave_no_object_are_deletions(type_: str, obj: Json, deletes: bool) -> None:
    assert read_event(event(type_, obj)).deletes is deletes


@pytest.mark.parametrize(
    ("api_version", "shape"),
    [
        (NEW, "endive"),
        ("2026-09-30.endive", "endive"),
        (OLD, "2024-06-20"),
        ("2025-03-31.basil", "basil"),
        (None, ""),
        (7, ""),
    ],
)
def test_the_shape_is_the_major_release_of_the_api_version(api_version: str, shape: str) -> None:
    assert read_event(event("customer.created", customer(), api_version=api_version)).shape == shape


@pytest.mark.parametrize("field", ["id", "type", "created", "data", "object"])
def test_an_event_without_a_required_field_is_none(field: str) -> None:
    body = event("customer.created", customer())
    del body[field]

    with pytest.raises(NotAnEvent):
        read_event(body)


@pytest.mark.parametrize("field", ["id", "type", "created"])
def test_a_thin_event_without_a_required_field_is_none(field: str) -> None:
    body = thin_event()
    del body[field]

    with pytest.raises(NotAnEvent):
        read_event(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": 7},
        {"type": None},
        {"created": True},
        {"created": "soon"},
        {"created": None},
        {"data": []},
        {"data": {}},
        {"data": {"object": "customer"}},
        {"data": {"object": {"id": "cus_1"}}},
        {"data": {"object": {"id": "cus_1", "object": 7}}},
        {"object": "customer"},
        {"object": None},
    ],
)
def test_an_event_with_a_field_of_the_wrong_type_is_none(changes: Json) -> None:
    with pytest.raises(NotAnEvent):
        read_event(event("customer.created", customer()) | changes)


def test_a_time_without_a_time_zone_is_invalid() -> None:
    with pytest.raises(NotAnEvent):
        read_event(thin_event(created="2026-07-01T00:00:58"))


@pytest.mark.parametrize("previous", [None, [], "status", 7])
def test_malformed_previous_attributes_are_ignored(previous: object) -> None:
    body = event("customer.updated", customer())
    body["data"]["previous_attributes"] = previous

    assert read_event(body).previous is None
