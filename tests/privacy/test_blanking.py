"""The blanked form of an object whose owner was erased."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import factories
from tests.factories import Json, event
from worker.mirror.fold import observe
from worker.mirror.registry import TYPES
from worker.mirror.rows import values
from worker.mirror.version import content_hash, put_back
from worker.privacy.blanking import blank, blank_body, blanked, owners, user_named
from worker.stripe_api.event import read_event

MARK = "Jenny Rosen"
OBJECTS = (
    factories.customer(user_id="user_42"),
    factories.payment_method(),
    factories.subscription(user_id="user_42"),
    factories.subscription(shape=factories.OLD),
    factories.invoice(payments=True),
    factories.invoice(shape=factories.OLD),
    factories.invoice_payment(),
    factories.payment_intent(shape=factories.OLD),
    factories.charge(),
    factories.refund(),
    factories.dispute(),
    factories.checkout_session(client_reference_id="user_42"),
)
# The typed columns with personal data. All other columns stay unchanged.
PERSONAL = {
    ("customer", "email"),
    ("customer", "name"),
    ("payment_method", "card_last4"),
    ("payment_method", "card_exp_month"),
    ("payment_method", "card_exp_year"),
    ("payment_intent", "description"),
    ("checkout.session", "customer_details_email"),
}

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([MARK, "active", "cus_jenny1"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["metadata", "status", "id"]), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: obj["object"])
def test_typed_columns_are_kept_except_personal_ones(obj: Json) -> None:
    type_ = TYPES[obj["object"]]

    before, after = values(type_, obj), values(type_, blank(obj))

    changed = {
        (type_.name, column.name) for column, old, new in zip(type_.columns, before, after, strict=True) if old != new
    }
    assert changed <= PERSONAL


@given(st.dictionaries(st.text(), _json))
def test_blanking_twice_changes_nothing_and_removes_personal_text(obj: Json) -> None:
    once = blank(obj)

    assert blank(once) == once
    assert MARK not in [leaf for leaf in _leaves(once) if isinstance(leaf, str)]


def test_amounts_and_products_stay_unchanged() -> None:
    invoice = factories.invoice(shape=factories.OLD)

    kept = blank(invoice)

    line = kept["lines"]["data"][0]
    assert (kept["total"], kept["number"], kept["status"]) == (2000, "DEMO42-0001", "paid")
    assert line["price"] == invoice["lines"]["data"][0]["price"]
    assert line["description"] is None


def test_plain_metadata_that_the_daemon_reads_is_kept() -> None:
    metadata = {"user_id": "user_42", "tokens": "100", "role": MARK, "userId": "jenny@example.com", "shoe_size": "44"}

    assert blank({"metadata": metadata}) == {"metadata": {"user_id": "user_42", "tokens": "100"}}


def test_a_blanked_observation_has_the_hash_of_the_blanked_event() -> None:
    before, after = factories.customer(name="a"), factories.customer(name="b", balance=5)
    body = factories.update("customer.updated", before, after)
    seen, again = observe(read_event(body)), observe(read_event(blank_body(body)))
    assert seen is not None
    assert again is not None

    made = blanked(seen)

    assert made.snapshot.content_hash == again.snapshot.content_hash == content_hash(blank(after))
    assert made.snapshot.before() == content_hash(blank(put_back(after, {"name": "a", "balance": 0})))


def test_a_blanked_deletion_stays_a_deletion() -> None:
    seen = observe(read_event(event("customer.deleted", factories.customer())))
    assert seen is not None

    assert blanked(seen).snapshot.deleted


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (factories.charge(), ["ch_1", "cus_jenny"]),
        (factories.charge() | {"customer": None}, ["ch_1", "pi_1", "pm_visa"]),
        (factories.dispute(), ["du_1", "ch_1", "pi_1"]),
        (factories.customer(), ["cus_jenny"]),
    ],
)
def test_other_objects_count_as_owners_only_if_no_customer_is_named(obj: Json, expected: list[str]) -> None:
    assert owners(obj["id"], obj) == expected


def test_the_client_reference_id_of_a_payment_link_names_no_user() -> None:
    guest = factories.checkout_session(customer=None, client_reference_id="user_42")

    assert user_named(guest) == "user_42"
    assert user_named(guest | {"payment_link": "plink_1"}) is None
    assert user_named(guest | {"customer": "cus_1"}) is None


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for member in value.values() for leaf in _leaves(member)]
    if isinstance(value, list):
        return [leaf for member in value for leaf in _leaves(member)]
    return [value]
