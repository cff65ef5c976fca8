"""Stripe's lists in the order in which a backfill reads them, for the pinned API version.

`schema.catalogue` has all lists that Stripe offers. This module adds the order, and the parents whose lists are worth
reading. A list is left out if another list embeds all its objects (`read_with` in the catalogue).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from schema import catalogue

_NONE: Mapping[str, str] = MappingProxyType({})

# The objects that users are computed from come first. The others follow by name, parents before children.
_FIRST = (
    "products", "prices", "plans", "coupons", "customers", "subscriptions", "invoices", "payment_intents", "charges",
    "checkout_sessions", "invoice_payments", "refunds", "disputes", "credit_notes", "payment_methods", "product_features",
)  # fmt: skip
# The objects of these lists refer to objects of other lists, so the other lists should be read first.
_AFTER = {
    "invoice_payments": ("invoices",),
    "refunds": ("invoices", "charges", "payment_intents"),
    "disputes": ("invoices", "charges", "payment_intents"),
    "credit_notes": ("invoices",),
}
# The column with the parent's id, if it is not `parent` of mirror.objects. None: the children are written with their
# parent.
_PARENT_FIELDS = {
    "payment_methods": "customer",
    "product_features": "product",
    "entitlements_active_entitlements": None,
}
# A field of the parent. If it is null, the parent has no such children, and its list is not read.
_HAVING = {"customer_sources": "default_source", "customer_cash_balance_transactions": "cash_balance"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeList:
    """One list.

    `object`: the type of the listed objects, or None if there are several. `by_created`: whether Stripe filters the
    list by `created`, so that ranges can be read in parallel. `parent_param`: the parameter for the parent's id, or
    None if the path contains `{parent}`. `parent_field`: the column with the parent's id. `parent_having`: a field of
    the parent; if it is null, the parent has no such children. `after`: lists that should be read first, because the
    objects of this list refer to their objects.
    """

    name: str
    path: str
    object: str | None
    by_created: bool = True
    params: Mapping[str, str] = field(default_factory=lambda: _NONE)
    parent: str | None = None
    parent_param: str | None = None
    parent_field: str | None = None
    parent_having: str | None = None
    after: tuple[str, ...] = ()

    def request(self, parent: str | None) -> tuple[str, dict[str, str]]:
        """The path and the parameters of a request for the list. A list under parents needs the parent."""
        if parent is None:
            return self.path, dict(self.params)
        if self.parent_param is not None:
            return self.path, {**self.params, self.parent_param: parent}
        return self.path.replace("{parent}", parent), dict(self.params)


def _list(row: catalogue.StripeList) -> StripeList:
    object_ = row.objects[0] if len(row.objects) == 1 else None
    path = row.path if row.parent is None or row.param is not None else _with_parent(row.path)
    return StripeList(
        name=row.name,
        path=path,
        object=object_,
        by_created=row.by_created,
        params=MappingProxyType(dict(row.params)),
        parent=row.parent,
        parent_param=row.param,
        parent_field=None if row.parent is None else _PARENT_FIELDS.get(row.name, "parent"),
        parent_having=_HAVING.get(row.name),
        after=(*_AFTER.get(row.name, ()), *([row.parent] if row.parent is not None else [])),
    )


def _with_parent(path: str) -> str:
    before, _, after = path.partition("{")
    return f"{before}{{parent}}{after.partition('}')[2]}"


def _in_order() -> Iterator[StripeList]:
    left = {name: _list(row) for name, row in catalogue.lists().items() if row.read_with is None}
    for name in _FIRST:
        yield left.pop(name)
    children = [row for row in left.values() if row.parent is not None]
    yield from (row for row in left.values() if row.parent is None)
    yield from children


LISTS: dict[str, StripeList] = {row.name: row for row in _in_order()}
