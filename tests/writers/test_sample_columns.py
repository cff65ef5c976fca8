"""Every column of every view equals the object in Stripe's sample events, if a copy of them lies beside the repository."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schema import catalogue, views
from tests.factories import Json, encoded
from tests.mirror.test_registry import ELSEWHERE
from tests.mirror.test_samples import SAMPLES, samples
from tests.writers.test_every_type import equal
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror.registry import is_preview, object_type
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.event import object_id
from worker.stripe_api.json_paths import embedded
from worker.writers.apply import Applier

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no sample events beside the repository")

# Computed columns, which have their own tests.
COMPUTED = {
    ("credit_note", "returned"),
    ("subscription", "current_period_start"),
    ("subscription", "current_period_end"),
}
PATHS: dict[tuple[str, str], list[str]] = {}
for _type, _path, _column in ELSEWHERE:
    PATHS.setdefault((_type, _column), []).append(_path)


def shown_objects() -> Iterator[tuple[str, str, Json, str]]:
    """Yield for each sample object: an invented account, the type, the object, and the parent's id if it is embedded."""
    for number, body in enumerate(samples("events*.jsonl")):
        obj, account = body["data"]["object"], f"acct_{number}"
        if object_id(obj) is None or obj.get("object") not in catalogue.types():
            continue
        yield account, obj["object"], obj, ""
        ends = body["type"].endswith(".deleted") and body["type"] != "customer.subscription.deleted"
        if ends or is_preview(str(object_id(obj))):
            continue
        for children in object_type(obj["object"]).children:
            for child in embedded(obj, children.field)[0]:
                yield account, children.type.name, child, str(object_id(obj))


def at_path(obj: Any, path: str) -> Any:
    """The value at a path such as `items.data.0.price`. An expanded object counts as its id."""
    for step in path.split("."):
        if isinstance(obj, list):
            obj = obj[int(step)] if len(obj) > int(step) else None
        else:
            obj = obj.get(step) if isinstance(obj, dict) else None
    return obj.get("id") if isinstance(obj, dict) and "id" in obj else obj


def differences(type_: str, obj: Json, row: Json, parent: str) -> Iterator[str]:
    """Describe each column of the row that differs from the object."""
    documented = catalogue.types()[type_].fields
    for column, (field, _) in views.columns(catalogue.types()[type_]).items():
        if (type_, column) in COMPUTED or field in ("deleted", "id"):
            continue
        if (type_, column) in PATHS:
            values = (at_path(obj, path) for path in PATHS[type_, column])
            raw, kind = next((value for value in values if value is not None), None), "text"
            if isinstance(row[column], str) and isinstance(raw, int):
                kind = "timestamptz"
        elif field:
            raw, kind = obj.get(field), documented[field]
        else:
            continue
        if kind == "id" and isinstance(raw, dict):
            raw = raw["id"]
        if raw is None and parent and row[column] == parent:
            continue  # in old API versions a child does not name its parent
        if not equal(kind, raw, row[column]):
            yield f"{type_} {obj.get('id')}: {column} shows {row[column]!r} of {raw!r}"


def test_every_column_of_every_sample_equals_the_raw_object(conn: psycopg.Connection) -> None:
    events = [{**body, "account": f"acct_{number}"} for number, body in enumerate(samples("events*.jsonl"))]
    inbox.store(conn, [read_envelope(encoded(event).decode()) for event in events])
    Applier(livemode=False, policy=Policy(off=True)).drain(conn)

    wrong: list[str] = []
    types: set[str] = set()
    for account, type_, obj, parent in shown_objects():
        view = catalogue.types()[type_].view
        query = f"select to_jsonb(v) from stripe.{view} as v where account = %s and id = %s"
        id_ = object_id(obj)
        row = conn.execute(query, (account, id_)).fetchone()
        if row is None:
            wrong.append(f"{type_} {id_} of {account} has no row")
            continue
        types.add(type_)
        wrong += differences(type_, obj, row[0], parent)

    assert wrong == []
    assert len(types) > 50
