"""Objects of types for which the sandbox has no rules. They are stored as given."""

from collections.abc import Mapping
from typing import Any

from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.kinds import KINDS
from sandbox.shapes.plain import ENTITLEMENT, SUMMARY
from sandbox.store import Record


def put(account: Account, obj: Mapping[str, Any], *, parent: str | None, delete: bool = False) -> str | None:
    """Create, change or delete an object; returns the type of its event, or None if Stripe has no event for it."""
    name, id_ = str(obj.get("object")), obj.get("id")
    kind = KINDS.get(name)
    if kind is None or not kind.plain or not isinstance(id_, str):
        raise invalid("object: needs an id, and a type that the sandbox stores as given", "object")
    before = account.find(name, id_)
    if delete:
        account.delete(name, id_)
        return _emit(account, name, id_, "deleted", None)
    record: Record = {**obj, "_parent": parent if parent is not None else (before or {}).get("_parent")}
    number = account.store.number
    if before is None:
        account.create(name, record)
        return _emit(account, name, id_, "created", None)
    account.change(name, id_, **{field: value for field, value in record.items() if field != "id"})
    return _emit(account, name, id_, "updated", number)


def _emit(account: Account, name: str, id_: str, what: str, since: int | None) -> str | None:
    """Emit the event of this change, if Stripe has one."""
    if name == ENTITLEMENT:
        return _emit_summary(account, str(account.get(name, id_)["_parent"]))
    type_ = next((event for event in KINDS[name].events if event.endswith(f".{what}")), None)
    if type_ is not None:
        account.emit(type_, name, id_, since=since)
    return type_


def _emit_summary(account: Account, customer: str) -> str:
    if account.find(SUMMARY, customer) is None:
        account.create(SUMMARY, {"id": customer, "object": SUMMARY})
    (type_,) = KINDS[SUMMARY].events
    account.emit(type_, SUMMARY, customer)
    return type_
