"""Stripe's sample events, if a copy lies beside the repository: each is read, observed and typed."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.factories import Json
from worker.mirror.fold import fold, observe
from worker.mirror.registry import TYPES
from worker.mirror.rows import families, values
from worker.stripe_api.event import Event, read_event

SAMPLES = Path(__file__).parents[3] / "shared" / "stripe"

pytestmark = pytest.mark.skipif(
    not (SAMPLES / "events.jsonl").is_file(), reason="no sample events beside the repository"
)


@cache
def samples(pattern: str) -> tuple[Json, ...]:
    """Every event in the files that match the pattern."""
    files = sorted(SAMPLES.glob(pattern))
    return tuple(json.loads(line) for file in files for line in file.read_text().splitlines())


def snapshots() -> list[Event]:
    return [read_event(body) for body in samples("events*.jsonl")]


def test_every_sample_is_an_event() -> None:
    bodies = samples("*events*.jsonl")

    read = [read_event(body) for body in bodies]

    assert [event.id for event in read] == [body["id"] for body in bodies]


def test_every_sample_object_is_stored_under_its_own_id() -> None:
    for event in snapshots():
        assert event.object is not None
        seen = observe(event)

        if seen is None:
            assert "id" not in event.object
        else:
            assert seen.key.id == event.object.get("id", seen.key.id)
            assert seen.key.object == event.object["object"]


def test_every_sample_of_a_type_with_a_table_gives_typed_values() -> None:
    given: dict[str, int] = {}
    for event in snapshots():
        if event.object_type in TYPES and event.object is not None and not event.object.get("deleted"):
            type_ = TYPES[event.object_type]
            filled = sum(value is not None for value in values(type_, event.object))
            given[type_.name] = max(given.get(type_.name, 0), filled)

    # Stripe sends no events about a product's features. Only the list of features shows them.
    assert given.keys() == TYPES.keys() - {"product_feature"}
    assert all(filled >= 4 for filled in given.values()), given


def test_every_child_in_the_samples_has_an_id_and_its_parent() -> None:
    for event in snapshots():
        if event.object is None or event.object_id is None or event.object_type not in TYPES:
            continue
        for family in families(TYPES[event.object_type], event.object, deleted=event.deletes):
            # `mirror.objects` has a column for the parent. The tables of other children read the parent from the object.
            apart = family.children.type.table.name == "objects"
            for id_, member in family.members.items():
                assert id_
                assert apart or member[family.children.parent] == event.object_id


def test_both_api_shapes_of_the_sample_story_begin_with_the_same_columns() -> None:
    def columns(pattern: str) -> dict[str, Any]:
        (event,) = [e for e in map(read_event, samples(pattern)) if e.type == "customer.subscription.created"]
        assert event.object is not None
        type_ = TYPES["subscription"]
        named = zip((column.name for column in type_.columns), values(type_, event.object), strict=True)
        return dict(named) | {"id": event.object_id}

    old, new = columns("events_2024-06-20.jsonl"), columns("events.jsonl")

    assert {name for name in old if old[name] != new[name]} == {"billing_mode_type"}


def test_folding_all_samples_gives_one_row_per_object() -> None:
    observed = [seen for event in snapshots() if (seen := observe(event)) is not None]

    outcomes = fold(observed, {})

    assert {outcome.key for outcome in outcomes} == {seen.key for seen in observed}
    assert all(outcome.version is not None and outcome.object is not None for outcome in outcomes)
