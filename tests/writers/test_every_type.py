"""The columns of every type that Stripe lists. The backfill reads objects with all fields of the SDK from the sandbox."""

from datetime import datetime
from typing import Any

import psycopg

from sandbox.kinds import KINDS
from schema import catalogue, views
from tests.factories import NOW, Json
from tests.sandboxes import Sandbox
from tests.writers.refetching import deliver
from tests.writers.test_backfill import carried_on
from worker.stripe_api.client import Stripe
from worker.stripe_api.lists import LISTS
from worker.writers import backfill

VALUES: dict[str, Any] = {
    "text": "said", "id": "ref_1", "bigint": 1234, "numeric": "12.5", "boolean": True, "timestamptz": NOW,
    "milliseconds": NOW * 1000, "jsonb": {"nested": [1, {"deep": None}]},
}  # fmt: skip


def sample(name: str, number: int) -> Json:
    """Return an object with every field that the SDK has. If the number is odd, every second field is missing."""
    fields = catalogue.types()[name].fields
    obj = {field: VALUES[kind] for at, (field, kind) in enumerate(fields.items()) if number % 2 == 0 or at % 2}
    obj |= {"object": name, "id": f"{name.replace('.', '_')}_{number}"}
    obj.pop("deleted", None)
    return obj | ({"created": NOW - number} if "created" in fields else {})


def equal(kind: str, raw: Any, shown: Any) -> bool:
    if raw is None or shown is None:
        return raw is shown
    if kind in ("timestamptz", "milliseconds"):
        return bool(datetime.fromisoformat(shown).timestamp() == (raw / 1000 if kind == "milliseconds" else raw))
    return bool(float(shown) == float(raw)) if kind == "numeric" else bool(shown == raw)


def test_every_list_is_read_and_each_column_equals_the_raw_object(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    customer = sandbox.post("/v1/customers", name="Jenny")["id"]
    made: dict[str, list[Json]] = {}
    for row in LISTS.values():
        if (
            row.object is None
            or row.object == "webhook_endpoint"  # the sandbox implements it separately
            or not KINDS[row.object].plain
            or row.parent_having is not None
            or row.object in made
        ):
            continue
        made[row.object] = [sample(row.object, number) for number in range(3)]
    for name, objects in made.items():
        under = next(row for row in LISTS.values() if row.object == name)
        parents = LISTS[under.parent].object if under.parent is not None else None
        parent = customer if parents == "customer" else made[str(parents)][0]["id"] if parents in made else None
        if under.parent is not None and parent is None:
            continue  # the sandbox does not have its parents
        for obj in objects:
            sandbox.tell("objects", object=obj, parent=parent)
        if under.parent is not None:
            made[name] = [{**obj, "_parent": parent} for obj in objects]

    backfill.start(conn, [name for name, row in LISTS.items() if row.object in made or row.object == "customer"])
    assert not carried_on(conn, stripe)

    progress = backfill.progress(conn)
    assert progress is not None
    assert [each for each in progress["lists"] if each["error"]] == []
    compared = 0
    for name, objects in made.items():
        type_ = catalogue.types()[name]
        rows = {row[0]["id"]: row[0] for row in conn.execute(f"select to_jsonb(v) from stripe.{type_.view} as v")}
        if not rows and LISTS[next(n for n, row in LISTS.items() if row.object == name)].parent is not None:
            continue
        for obj in objects:
            shown = rows[obj["id"]]
            for column, (field, _) in views.columns(type_).items():
                if field and field != "deleted":
                    compared += 1
                    assert equal(type_.fields[field], obj.get(field), shown[column]), (name, column, shown[column])
            if name in views.PARENT_COLUMNS and name != "balance_transaction":
                assert shown[views.PARENT_COLUMNS[name]] == obj["_parent"]
    assert compared > 3000, compared


def test_a_change_of_any_object_is_reported_by_its_event(conn: psycopg.Connection, sandbox: Sandbox) -> None:
    for name, changed in (("payout", "updated"), ("issuing.card", "updated"), ("subscription_schedule", "updated")):
        obj = sample(name, 0)
        sandbox.tell("objects", object=obj)
        answer = sandbox.tell("objects", object={**obj, "status": "changed"})

        assert answer["event"] == next(e for e in catalogue.types()[name].events if e.endswith(changed))
    events = sandbox.get("/v1/events?limit=100")["data"]
    deliver(conn, *reversed(events))

    for view in ("payouts", "issuing_cards", "subscription_schedules"):
        assert conn.execute(f"select status from stripe.{view}").fetchall() == [("changed",)]
    assert events[0]["data"]["previous_attributes"] == {"status": "said"}


def test_the_sandbox_s_summary_shows_ten_entitlements_and_its_list_shows_all(sandbox: Sandbox) -> None:
    customer = sandbox.post("/v1/customers", name="Jenny")["id"]
    for number in range(12):
        sandbox.tell("objects", object=sample("entitlements.active_entitlement", number), parent=customer)

    newest = sandbox.get("/v1/events?limit=1")["data"][0]
    listed = sandbox.get(f"/v1/entitlements/active_entitlements?customer={customer}&limit=100")

    shown = newest["data"]["object"]["entitlements"]
    assert (newest["type"], len(shown["data"]), shown["has_more"]) == (
        "entitlements.active_entitlement_summary.updated",
        10,
        True,
    )
    assert len(listed["data"]) == 12
    assert sandbox.get("/v1/entitlements/active_entitlements?customer=cus_none")["data"] == []
