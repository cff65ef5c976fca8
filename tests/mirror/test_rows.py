"""Objects as rows of the mirror: their typed values and their children."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import Json, event, invoice, line_item, subscription, subscription_item
from tests.mirror.histories import LAW
from worker.mirror.fold import fold, listed, observe
from worker.mirror.registry import TYPES, object_type
from worker.mirror.rows import Family, families, values
from worker.stripe_api.event import read_event
from worker.stripe_api.json_paths import at, embedded, fit, reference

_TYPES = {children.type.name: children.type for type_ in TYPES.values() for children in type_.children} | TYPES


def family(obj: Json, *, deleted: bool = False) -> Family:
    (actual,) = families(object_type(obj["object"]), obj, deleted=deleted)
    return actual


# Values


@pytest.mark.parametrize(
    ("kind", "sent", "stored"),
    [
        ("text", "x", "x"),
        ("text", "", ""),
        ("text", {"id": "cus_1"}, "cus_1"),
        ("text", {"name": "x"}, None),
        ("bigint", 5, 5),
        ("bigint", -5, -5),
        ("bigint", "5", 5),
        ("bigint", True, None),
        ("bigint", "five", None),
        ("bigint", [5], None),
        ("bigint", {"id": 5}, None),
        ("bigint", 2**63, None),
        ("bigint", 2**63 - 1, 2**63 - 1),
        ("bigint", float("inf"), None),
        ("bigint", float("nan"), None),
        ("timestamptz", 1_782_864_056, 1_782_864_056),
        ("timestamptz", 10**12, None),
        ("timestamptz", "2026-07-01", None),
        ("boolean", True, True),
        ("boolean", False, False),
        ("boolean", 1, None),
        ("boolean", "true", None),
        ("numeric", "20.5", "20.5"),
        ("numeric", 20.0, "20.0"),
        ("numeric", 20, "20"),
        ("numeric", True, None),
        ("numeric", "twenty", None),
        ("numeric", "nan", None),
        ("numeric", "Infinity", None),
        ("numeric", "1e999999", None),
        ("numeric", 10**400, None),
        ("numeric", {}, None),
        ("numeric", "１２", "12"),
        ("jsonb", {"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        ("jsonb", [], "[]"),
    ],
)
def test_a_value_that_does_not_fit_its_column_becomes_none(kind: str, sent: Any, stored: Any) -> None:
    assert fit(kind, sent) == stored
    assert type(fit(kind, sent)) is type(stored)


@pytest.mark.parametrize("kind", ["text", "bigint", "timestamptz", "boolean", "numeric", "jsonb"])
def test_null_is_none_in_every_column(kind: str) -> None:
    assert fit(kind, None) is None


def test_a_moved_field_is_read_from_the_first_place_that_holds_a_value() -> None:
    read = at("new.place", "old")

    assert read({"new": {"place": 1}, "old": 2}) == 1
    assert read({"new": {"place": None}, "old": 2}) == 2
    assert read({"new": "else", "old": 2}) == 2
    assert read({"new": None}) is None


@pytest.mark.parametrize(
    ("value", "id_"), [("cus_1", "cus_1"), ({"id": "cus_1"}, "cus_1"), ("", None), ({}, None), (7, None)]
)
def test_a_reference_is_read_from_an_id_or_an_expanded_object(value: Any, id_: str | None) -> None:
    assert reference(value) == id_


# Families


def test_an_untruncated_list_is_complete() -> None:
    items = [subscription_item("si_1"), subscription_item("si_2")]

    actual = family(subscription(items=items))

    assert actual.complete
    assert list(actual.members) == ["si_1", "si_2"]


def test_a_truncated_list_is_not_complete() -> None:
    actual = family(invoice(has_more=True))

    assert not actual.complete
    assert len(actual.members) == 1


def test_a_missing_list_is_not_complete() -> None:
    actual = family({"object": "invoice", "id": "in_1"})

    assert (actual.members, actual.complete) == ({}, False)


def test_a_deleted_parent_has_no_children() -> None:
    actual = family(invoice(), deleted=True)

    assert (actual.members, actual.complete) == ({}, True)


def test_the_lines_of_a_preview_are_not_mirrored() -> None:
    assert not list(families(object_type("invoice"), invoice("upcoming_in_1"), deleted=False))


@pytest.mark.parametrize("named", ["absent", None])
def test_a_child_that_does_not_name_its_parent_gets_the_parents_id(named: str | None) -> None:
    line = line_item()
    line["invoice"] = None
    if named == "absent":
        del line["invoice"]

    actual = family(invoice("in_7", lines=[line]))

    assert [line["invoice"] for line in actual.members.values()] == ["in_7"]


def test_an_object_without_lists_has_no_family() -> None:
    assert not list(families(object_type("customer"), {"id": "cus_1"}, deleted=False))


@pytest.mark.parametrize("data", [None, 7, True, "il_1", {"id": "il_1"}])
def test_a_malformed_list_counts_as_missing(data: Any) -> None:
    assert embedded({"lines": {"object": "list", "data": data, "has_more": False}}, "lines") == ([], True)


def test_objects_without_an_id_are_not_children() -> None:
    children, _ = embedded({"lines": {"data": [{"id": "il_1"}, {"id": 7}, {"id": None}, {}, "il_2", None]}}, "lines")

    assert children == [{"id": "il_1"}]


# Arbitrary JSON

_WORDS = st.sampled_from(
    [
        "id", "object", "status", "deleted", "test_clock", "items", "lines", "payments", "data", "has_more", "price",
        "plan", "product", "pricing", "price_details", "parent", "subscription_details", "subscription_item_details",
        "subscription", "customer", "metadata", "user_id", "period", "start", "end", "payment", "payment_intent",
        "current_period_start", "current_period_end", "amount", "unit_amount_decimal", "percent_off", "created",
        "recurring", "interval", "quantity", "invoice", "pause_collection", "card", "livemode",
    ]
)  # fmt: skip
_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["id_1", "paid", 10**400])
)
_json = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=8,
)
_objects = st.dictionaries(_WORDS, _json, max_size=8)


@pytest.mark.parametrize("status", [["paid"], {"paid": True}, 7, None])
def test_a_status_that_is_not_a_string_is_not_final(status: Any) -> None:
    seen = observe(read_event(event("invoice.updated", invoice() | {"status": status})))

    assert seen is not None
    assert not seen.snapshot.final


def test_a_malformed_time_is_ignored_when_the_earliest_period_is_chosen() -> None:
    strange = [subscription_item("si_1", period_end=9), subscription_item("si_2") | {"current_period_end": "soon"}]
    type_ = object_type("subscription")

    actual = values(type_, subscription(items=strange))

    assert actual[[column.name for column in type_.columns].index("current_period_end")] == 9


def test_a_line_identified_by_its_subscription_gets_one_key_per_invoice() -> None:
    lines = [{**line_item(), "id": "sub_1"}, {**line_item(), "id": "sub_1", "unique_id": "il_9"}]

    assert list(family(invoice("in_7", lines=lines)).members) == ["in_7:sub_1", "il_9"]


@LAW
@given(st.sampled_from(sorted(_TYPES)), _objects)
def test_no_object_is_too_strange_for_values_and_families(name: str, obj: Json) -> None:
    type_ = _TYPES[name]

    actual = values(type_, obj)

    assert len(actual) == len(type_.columns)
    for each in families(type_, obj, deleted=False):
        assert all(isinstance(id_, str) for id_ in each.members)
        assert all(len(values(each.children.type, member)) for member in each.members.values())


@LAW
@given(
    st.sampled_from(["customer.created", "invoice.updated", "product.deleted"]),
    st.sampled_from(sorted(TYPES)),
    _objects,
    _json,
)
def test_no_object_is_too_strange_to_be_observed_and_folded(type_: str, name: str, obj: Json, previous: Any) -> None:
    obj = obj | {"object": name, "id": "x_1"}
    strange = event(type_, obj, id="evt_1")
    strange["data"]["previous_attributes"] = previous
    again = event(type_, obj | {"name": "other"}, id="evt_2")

    seen = [observe(read_event(body)) for body in (strange, again)]
    page = listed(obj, read_at=7, shape="")

    (outcome,) = fold([each for each in (*seen, page) if each is not None], {})
    assert outcome.version is not None
