"""Apply an event in a transaction that is rolled back, and return the changes it would make."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from schema import mirror
from worker.config.errors import Permanent
from worker.inbox import browse
from worker.inbox.store import Leased
from worker.membership.rules.access import Policy
from worker.mirror import history
from worker.mirror.history import Difference
from worker.writers.apply import Applier

# The rows of the application that an event may change, by table. Without membership there are none.
_USERS = {
    "users": "select u.* from users as u where u.id = any(%(users)s)",
    "user_subscriptions": "select s.* from user_subscriptions as s where s.user_id = any(%(users)s)",
    "payment_history": "select p.* from payment_history as p where p.user_id = any(%(users)s)",
    "user_features": "select f.*, concat_ws(' ', f.user_id, f.feature, f.source) as id from user_features as f "
    "where f.user_id = any(%(users)s)",
    "sync.changes": "select c.* from sync.changes as c where c.user_id = any(%(users)s)",
    "sync.token_grants": "select g.* from sync.token_grants as g where g.user_id = any(%(users)s)",
    "sync.customer_links": "select l.*, l.stripe_customer_id as id from sync.customer_links as l "
    "where l.stripe_customer_id = any(%(customers)s)",
}
_LEFT_OUT = {"updated_at", "synced_at", "checked_at"}


class NoSuchEvent(Permanent):
    """The inbox has no such event."""


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of a dry run: the outcome, and the fields that differ, by table and id of the row."""

    event: str
    type: str
    outcome: str
    changes: dict[str, tuple[Difference, ...]]

    def as_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        changes = {row: [each._asdict() for each in changed] for row, changed in self.changes.items()}
        return {"event": self.event, "type": self.type, "outcome": self.outcome, "changes": changes}


def replay(conn: psycopg.Connection, event_id: str, *, policy: Policy, livemode: bool) -> Tried:
    """Apply one event of the inbox as a worker would, and roll back.

    Raises NoSuchEvent, and any error of applying it.
    """
    row = browse.one(conn, event_id)
    if row is None:
        raise NoSuchEvent(f"there is no event {event_id} in the inbox", event_id=event_id)
    body: Any = msgspec.json.decode(row["body"])
    ids = {row["object_id"], *_children(body)} - {None}
    leased = Leased(
        id=row["id"], attempts=1, livemode=row["livemode"], body=row["body"], age_seconds=0, traceparent=None
    )
    applier = Applier(livemode=livemode, policy=policy)
    with conn.transaction(force_rollback=True):
        customers = _customers(body)
        users = [] if policy.off else _users(conn, customers)
        before = _rows(conn, ids, customers, users, policy)
        outcome = applier.apply_one(conn, leased)
        users = users if policy.off else sorted({*users, *_users(conn, customers)})
        after = _rows(conn, ids, customers, users, policy)
    changes = {
        name: differing
        for name in sorted(before.keys() | after.keys())
        if (differing := tuple(history.differences(before.get(name, {}), after.get(name, {}))))
    }
    return Tried(event_id, row["type"], outcome, changes)


def _rows(
    conn: psycopg.Connection, ids: Iterable[str], customers: list[str], users: list[str], policy: Policy
) -> dict[str, dict[str, Any]]:
    """All rows that the event may change, by table and id."""
    rows: dict[str, dict[str, Any]] = {}
    with conn.cursor(row_factory=dict_row) as cursor:
        for table in mirror.tables.values():
            query = sql.SQL("select * from {} where id = any(%s)").format(sql.Identifier("mirror", table.name))
            for row in cursor.execute(query, (list(ids),)).fetchall():
                rows[f"mirror.{table.name} {row['id']}"] = row
        for table_name, statement in ({} if policy.off else _USERS).items():
            for row in cursor.execute(statement, {"users": users, "customers": customers}).fetchall():
                rows[f"{table_name} {row['id']}"] = row
    return {name: _plain(row) for name, row in rows.items()}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row as JSON values, without the columns that change on each write."""
    plain: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode({k: v for k, v in row.items() if k not in _LEFT_OUT})
    )
    return plain


def _children(value: Any) -> Iterable[str]:
    """The ids of the objects embedded in lists of an event's object."""
    if isinstance(value, dict):
        if value.get("object") == "list" and isinstance(value.get("data"), list):
            yield from (
                each["id"] for each in value["data"] if isinstance(each, dict) and isinstance(each.get("id"), str)
            )
        for each in value.values():
            yield from _children(each)


def _customers(body: Any) -> list[str]:
    obj = body.get("data", {}).get("object", {}) if isinstance(body, dict) else {}
    named = [obj.get("customer"), obj.get("id") if obj.get("object") == "customer" else None]
    return sorted({each["id"] if isinstance(each, dict) else each for each in named if each})


def _users(conn: psycopg.Connection, customers: list[str]) -> list[str]:
    rows = conn.execute(
        "select user_id from sync.customer_links where stripe_customer_id = any(%s) and user_id is not null",
        (customers,),
    )
    return [user for (user,) in rows]
