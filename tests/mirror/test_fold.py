"""Folding all observations of one object in a batch into one outcome."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import (
    DAY,
    NEW,
    NOW,
    OLD,
    Json,
    customer,
    event,
    invoice,
    line_item,
    product,
    stub,
    subscription,
    subscription_item,
    update,
)
from tests.mirror.histories import LAW
from worker.mirror.fold import Key, Observation, Outcome, fold, listed, observe, retrieved
from worker.mirror.version import Verdict, Version
from worker.stripe_api.event import read_event


def observed(body: Json) -> Observation:
    observation = observe(read_event(body))
    assert observation is not None
    return observation


def folded(*bodies: Json, rows: Mapping[Key, Version] | None = None) -> Outcome:
    (outcome,) = fold(map(observed, bodies), rows or {})
    return outcome


def settled_at(*bodies: Json) -> tuple[Key, Version]:
    outcome = folded(*bodies)
    assert outcome.version is not None
    return outcome.key, outcome.version


def one_by_one(observations: Iterable[Observation], rows: Mapping[Key, Version]) -> dict[Key, Outcome]:
    """Fold each observation alone, in the rule's order. Each outcome keeps the last object written for its key."""
    held, ends = dict(rows), dict[Key, Outcome]()
    for seen in sorted(
        observations, key=lambda seen: (seen.snapshot.created, seen.snapshot.rank, seen.snapshot.source)
    ):
        (outcome,) = fold([seen], held)
        assert outcome.version is not None
        held[seen.key] = outcome.version
        before = ends.setdefault(seen.key, Outcome(seen.key, rows.get(seen.key)))
        ends[seen.key] = replace(
            before,
            version=outcome.version,
            object=outcome.object or before.object,
            verdicts=before.verdicts | outcome.verdicts,
        )
    return ends


# One outcome per object


def test_a_new_object_is_written() -> None:
    obj = subscription("sub_1")

    outcome = folded(event("customer.subscription.created", obj, id="evt_1"))

    assert outcome.key == Key("subscriptions", "subscription", "sub_1", "")
    assert (outcome.before, outcome.object) == (None, obj)
    assert outcome.verdicts == {"evt_1": Verdict.WRITTEN}
    assert outcome.touched


def test_events_of_one_object_become_one_outcome_with_a_verdict_each() -> None:
    first, last = customer(name="Jenny"), customer(name="Jenny Rosen")

    outcome = folded(
        update("customer.updated", first, last, id="evt_2", created=NOW + 60),
        event("customer.created", first, id="evt_1", created=NOW),
    )

    assert outcome.object == last
    assert outcome.verdicts == {"evt_1": Verdict.WRITTEN, "evt_2": Verdict.WRITTEN}


def test_the_same_id_in_two_accounts_means_two_objects() -> None:
    bodies = [event("customer.created", customer(), account=account) for account in (None, "acct_1")]

    outcomes = fold(map(observed, bodies), {})

    assert [outcome.key.account for outcome in outcomes] == ["", "acct_1"]


def test_a_price_and_a_plan_with_the_same_id_are_two_objects() -> None:
    bodies = [
        event("price.created", {"object": "price", "id": "price_1"}),
        event("plan.created", {"object": "plan", "id": "price_1"}),
    ]

    assert [outcome.key.table for outcome in fold(map(observed, bodies), {})] == ["plans", "prices"]


def test_outcomes_are_sorted_in_the_order_of_row_locks() -> None:
    bodies = [event("customer.created", customer(id_)) for id_ in ("cus_c", "cus_a", "cus_b")]

    keys = [outcome.key for outcome in fold(map(observed, bodies), {})]

    assert keys == sorted(keys)


def test_an_object_without_its_own_table_is_kept_whole() -> None:
    outcome = folded(event("moon.landed", {"object": "moon", "id": "moon_1"}))

    assert outcome.key == Key("objects", "moon", "moon_1", "")


# Touched and untouched


def test_a_superseded_event_leaves_the_outcome_untouched() -> None:
    key, held = settled_at(event("customer.updated", customer(name="new"), created=NOW + 60))

    outcome = folded(event("customer.updated", customer(name="old"), id="evt_old", created=NOW), rows={key: held})

    assert not outcome.touched
    assert outcome.object is None
    assert outcome.verdicts == {"evt_old": Verdict.SUPERSEDED}


def test_same_content_updates_the_version_but_not_the_object() -> None:
    key, held = settled_at(event("customer.updated", customer()))

    outcome = folded(event("customer.updated", customer(), created=NOW + 1), rows={key: held})

    assert outcome.touched
    assert outcome.object is None


def test_an_ambiguous_pair_in_one_batch_is_unsettled() -> None:
    first, last = customer(name="a"), customer(name="b")

    outcome = folded(
        event("customer.updated", first, id="evt_1", created=NOW),
        event("customer.updated", last, id="evt_2", created=NOW + 1),
    )

    assert outcome.version is not None
    assert outcome.version.unsettled
    assert (outcome.object, outcome.verdicts["evt_2"]) == (last, Verdict.GUESSED_NEWER)


def test_an_object_created_and_updated_within_one_second_is_settled_at_the_update() -> None:
    made, active = subscription(status="incomplete"), subscription(status="active")

    outcome = folded(
        update("customer.subscription.updated", made, active, id="evt_1"),
        event("customer.subscription.created", made, id="evt_2"),
    )

    assert outcome.version is not None
    assert not outcome.version.unsettled
    assert outcome.object == active


def test_a_change_is_folded_before_a_deletion_in_the_same_second() -> None:
    outcome = folded(
        event("product.deleted", product(), id="evt_1"), event("product.updated", product(name="x"), id="evt_2")
    )

    assert outcome.verdicts == {"evt_2": Verdict.WRITTEN, "evt_1": Verdict.GUESSED_NEWER}


def test_a_batch_that_guesses_newer_then_older_keeps_the_newer_object() -> None:
    ended, late = subscription(status="canceled"), subscription(status="past_due")

    outcome = folded(
        event("customer.subscription.deleted", ended, id="evt_1", created=NOW),
        event("customer.subscription.updated", late, id="evt_2", created=NOW + 1),
    )

    assert outcome.object == ended
    assert outcome.verdicts["evt_2"] is Verdict.GUESSED_OLDER


def test_previous_attributes_order_events_within_a_second() -> None:
    first, last = customer(name="a"), customer(name="b")
    key, held = settled_at(event("customer.updated", first, id="evt_9"))

    outcome = folded(update("customer.updated", first, last, id="evt_1"), rows={key: held})

    assert outcome.object == last


@pytest.mark.parametrize("order", [1, -1])
def test_equal_content_in_another_shape_is_unsettled(order: int) -> None:
    shapes = [(OLD, "evt_1"), (NEW, "evt_2")][::order]

    outcome = folded(
        *(event("customer.updated", customer(), id=id_, api_version=api_version) for api_version, id_ in shapes)
    )

    assert outcome.version is not None
    assert outcome.version.unsettled


# Deletion


def test_a_deletion_that_carries_the_whole_object_keeps_it_and_marks_it_deleted() -> None:
    outcome = folded(event("product.deleted", product(), created=NOW + 60))

    assert outcome.version is not None
    assert outcome.version.deleted
    assert outcome.object == product()


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_deletion_with_the_whole_object_is_kept_over_a_stub(whole_first: bool) -> None:
    ids = ("evt_1", "evt_2") if whole_first else ("evt_2", "evt_1")

    outcome = folded(
        event("customer.deleted", customer(), id=ids[0]), event("customer.deleted", stub(customer()), id=ids[1])
    )

    assert outcome.object == customer()
    assert outcome.version is not None
    assert (outcome.version.shape, outcome.version.unsettled) == ("endive", False)


def test_a_canceled_subscription_is_not_deleted() -> None:
    outcome = folded(event("customer.subscription.deleted", subscription(status="canceled")))

    assert outcome.version is not None
    assert not outcome.version.deleted
    assert outcome.version.final


@pytest.mark.parametrize("kind", ["customer", "invoice"])
def test_an_event_after_a_deletion_does_not_restore_the_object(kind: str) -> None:
    obj = {"customer": customer, "invoice": invoice}[kind]()

    outcome = folded(
        event(f"{kind}.deleted", stub(obj), id="evt_1"), event(f"{kind}.updated", obj, id="evt_2", created=NOW + DAY)
    )

    assert outcome.version is not None
    assert outcome.version.deleted
    assert outcome.verdicts["evt_2"] is Verdict.SUPERSEDED


def test_a_recreated_product_exists_again() -> None:
    outcome = folded(
        event("product.deleted", product(), id="evt_1"),
        event("product.created", product(name="Pro II"), id="evt_2", created=NOW + DAY),
    )

    assert outcome.version is not None
    assert not outcome.version.deleted
    assert outcome.object == product(name="Pro II")


# Snapshots that cannot settle


@pytest.mark.parametrize(
    ("type_", "obj"),
    [
        ("customer.subscription.updated", subscription(has_more=True)),
        ("invoice.paid", invoice(has_more=True)),
        ("customer.updated", customer(test_clock="clock_1")),
        ("customer.subscription.updated", subscription(test_clock="clock_1")),
        ("invoice.paid", invoice(test_clock="clock_1")),
        ("invoice.paid", {"object": "invoice", "id": "in_1", "status": "paid"}),
    ],
)
def test_truncated_lists_and_test_clocks_leave_the_row_unsettled(type_: str, obj: Json) -> None:
    outcome = folded(event(type_, obj))

    assert outcome.version is not None
    assert outcome.version.unsettled


@pytest.mark.parametrize(
    ("type_", "obj"),
    [
        ("customer.subscription.updated", subscription(items=[subscription_item("si_1"), subscription_item("si_2")])),
        ("invoice.paid", invoice(lines=[line_item("il_1"), line_item("il_2")])),
        ("invoice.deleted", stub(invoice())),
    ],
)
def test_a_complete_family_settles_the_row(type_: str, obj: Json) -> None:
    outcome = folded(event(type_, obj))

    assert outcome.version is not None
    assert not outcome.version.unsettled


def test_a_preview_of_an_invoice_is_never_unsettled() -> None:
    preview = invoice("upcoming_in_1", status="draft", has_more=True)

    outcome = folded(
        event("invoice.upcoming", preview, id="evt_1"),
        event("invoice.upcoming", preview | {"total": 1}, id="evt_2", created=NOW + 1),
    )

    assert outcome.version is not None
    assert not outcome.version.unsettled


def test_an_object_without_an_id_cannot_be_kept() -> None:
    preview = invoice()
    del preview["id"]

    assert observe(read_event(event("invoice.upcoming", preview))) is None


@pytest.mark.parametrize("kind", ["balance", "discount"])
def test_a_type_that_cannot_be_fetched_is_never_unsettled(kind: str) -> None:
    outcome = folded(
        event(f"{kind}.updated", {"object": kind, "id": "x_1", "n": 1}, id="evt_1"),
        event(f"{kind}.updated", {"object": kind, "id": "x_1", "n": 2}, id="evt_2"),
    )

    assert outcome.version is not None
    assert not outcome.version.unsettled


# Reads


def test_a_page_entry_is_observed_as_it_was_read() -> None:
    seen = listed(subscription("sub_1", status="canceled"), read_at=NOW, shape="endive")

    assert seen is not None
    assert seen.key == Key("subscriptions", "subscription", "sub_1", "")
    assert (seen.snapshot.created, seen.snapshot.final, seen.snapshot.listed) == (NOW, True, True)


@pytest.mark.parametrize("obj", [{"object": "customer"}, {"id": "cus_1"}, {"object": 7, "id": "cus_1"}])
def test_a_page_entry_that_cannot_be_stored_is_skipped(obj: Json) -> None:
    assert listed(obj, read_at=NOW, shape="endive") is None


@pytest.mark.parametrize("answer", [None, stub(customer())])
def test_an_answer_without_the_object_counts_as_a_deletion(answer: Json | None) -> None:
    key = Key("customers", "customer", "cus_jenny", "")

    seen = retrieved(key, answer, read_at=NOW, shape="endive")

    assert seen.snapshot.deleted
    assert seen.object == stub(customer())


def test_an_event_and_an_answer_with_the_same_object_have_the_same_content() -> None:
    newest = observed(event("customer.updated", customer()))

    answer = retrieved(newest.key, customer(), read_at=NOW, shape="endive")

    assert answer.snapshot.content_hash == newest.snapshot.content_hash


# Laws

_names = st.sampled_from(["a", "b", "c"])


@st.composite
def newest(draw: st.DrawFn) -> list[Json]:
    """Events of a few objects of several types, close in time and in any order. Each event has its own id."""
    bodies: list[Json] = []
    for number in draw(st.permutations(range(draw(st.integers(1, 8))))):
        obj = draw(st.sampled_from([customer, product]))(name=draw(_names))
        kind = draw(st.sampled_from(["created", "updated", "deleted"]))
        bodies.append(
            event(
                f"{obj['object']}.{kind}",
                stub(obj) if kind == "deleted" and draw(st.booleans()) else obj,
                id=f"evt_{number}",
                created=NOW + draw(st.integers(0, 20)),
                previous={"name": draw(_names)} if kind == "updated" else None,
                api_version=draw(st.sampled_from([OLD, NEW])),
            )
        )
    return bodies


@LAW
@given(newest(), newest())
def test_folding_a_batch_equals_folding_one_by_one_in_order(earlier: list[Json], bodies: list[Json]) -> None:
    rows = {outcome.key: outcome.version for outcome in fold(map(observed, earlier), {}) if outcome.version}
    observations = [observed(body) for body in bodies]

    at_once = {outcome.key: outcome for outcome in fold(observations, rows)}

    ends = one_by_one(observations, rows)
    assert {key: (end.version, end.object, end.verdicts) for key, end in ends.items()} == {
        key: (outcome.version, outcome.object, outcome.verdicts) for key, outcome in at_once.items()
    }


@LAW
@given(newest())
def test_the_order_within_a_batch_does_not_matter(bodies: list[Json]) -> None:
    backwards = fold(map(observed, bodies[::-1]), {})

    assert fold(map(observed, bodies), {}) == backwards


@LAW
@given(newest())
def test_every_event_of_a_batch_gets_a_verdict(bodies: list[Json]) -> None:
    outcomes = fold(map(observed, bodies), {})

    assert {source for outcome in outcomes for source in outcome.verdicts} == {body["id"] for body in bodies}


@LAW
@given(st.data())
def test_no_row_is_wrong_and_settled_whatever_the_batches_and_their_order(data: st.DataObject) -> None:
    states = [customer(name=f"v{number}") for number in range(data.draw(st.integers(1, 6), label="versions"))]
    gaps = data.draw(st.lists(st.integers(0, 30), min_size=len(states), max_size=len(states)), label="gaps")
    moments = [NOW + sum(gaps[1 : number + 1]) for number in range(len(states))]
    bodies = [event("customer.created", states[0], created=moments[0])]
    for before, after, moment in zip(states, states[1:], moments[1:], strict=False):
        bodies.append(update("customer.updated", before, after, created=moment))
    left = [observed(body) for body in data.draw(st.permutations(bodies), label="order")]
    last = observed(bodies[-1]).snapshot.content_hash
    rows: dict[Key, Version] = {}

    while left:
        size = data.draw(st.integers(1, len(left)), label="batch")
        rows |= {outcome.key: outcome.version for outcome in fold(left[:size], rows) if outcome.version}
        left = left[size:]

    (version,) = rows.values()
    assert version.content_hash == last or version.unsettled
