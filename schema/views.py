"""The schema `stripe`, with a view for each Stripe object type. Applications and people read these views.

A view is named after the type's list. It has a typed column for each documented field, then `data` and the bookkeeping.
Columns of the table are shown unchanged. Other fields are read from `data` when they are selected, so they cost nothing
when a row is written. The daemon itself uses the tables of `mirror`. The views run with their owner's rights.
"""

from collections.abc import Iterator

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from schema import VIEWS_MARK, VIEWS_SCHEMA, catalogue, mirror_tables, revenue_tables
from schema.catalogue import StripeType
from schema.mirror import SCHEMA

# Tables whose objects are embedded in other objects.
_TABLES = {"subscription_item": "subscription_items", "line_item": "invoice_line_items"}
_TABLES |= {"item": "checkout_session_line_items"}
# Columns of the bookkeeping. `account` is the connected account, so a field with this name is shown as `account_id`.
_BOOKKEEPING = ("created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev",
                "unsettled", "synced_at")  # fmt: skip
_RENAMED = {"account": "account_id"}
_EXPRESSIONS = {
    "text": "data ->> '{0}'",
    "id": "mirror.as_id(data -> '{0}')",
    "bigint": "mirror.as_bigint(data -> '{0}')",
    "numeric": "mirror.as_numeric(data -> '{0}')",
    "boolean": "mirror.as_boolean(data -> '{0}')",
    "timestamptz": "mirror.as_time(data -> '{0}')",
    "milliseconds": "mirror.as_time(data -> '{0}', 1000)",
    "jsonb": "nullif(data -> '{0}', 'null')",
}
# Line items are one type with several kinds of parents. The ids of quotes and payment links always have Stripe's prefixes.
_LINE_ITEMS = {"quote_line_items": ("quote", r"qt\_%"), "payment_link_line_items": ("payment_link", r"plink\_%")}
# Types whose objects do not name their parent, and the view's column for the parent whose list contained them.
PARENT_COLUMNS = {
    "balance_transaction": "payout",
    "billing.credit_balance_transaction": "customer",
    "credit_note_line_item": "credit_note",
    "entitlements.active_entitlement": "customer",
}
_LINE = 108
_quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped


def table_of(type_: StripeType) -> Table:
    """The table with the objects of a type."""
    named = _TABLES.get(type_.name, type_.view)
    return mirror_tables.tables.get(named, mirror_tables.tables["objects"])


def columns(type_: StripeType) -> dict[str, tuple[str, str]]:
    """The view's columns in order: name, the documented field (if any), and the SQL expression."""
    table = table_of(type_)
    shown = {"id": ("id", "id"), "account": ("", "account")}
    named = {_RENAMED.get(name, name): (name, kind) for name, kind in type_.fields.items()}
    held = [column.name for column in table.columns if table.name != "objects" or column.name == "customer"]
    for name in sorted({*named, *held} - {"id", "account", *_BOOKKEEPING}):
        field, kind = named.get(name, ("", ""))
        if name in held and (field or table.name != "objects"):
            shown[name] = field, _quote(name)
        elif field:
            shown[name] = field, _EXPRESSIONS[kind].format(field)
    if type_.name in PARENT_COLUMNS:
        shown[PARENT_COLUMNS[type_.name]] = "", "parent"
    return shown | {name: (name if name in named else "", name) for name in _BOOKKEEPING}


def view(type_: StripeType) -> str:
    """The query of a type's view."""
    table = table_of(type_)
    where = f"object = '{type_.name}'" if table.name == "objects" else ""
    return _query(columns(type_), table, where)


def _query(shown: dict[str, tuple[str, str]], table: Table, where: str) -> str:
    parts = [
        expression if expression == _quote(name) else f"{expression} as {_quote(name)}"
        for name, (_, expression) in shown.items()
    ]
    lines = [""]
    for each in parts:
        if len(lines[-1]) + len(each) > _LINE:
            lines.append("")
        lines[-1] += f" {each},"
    body = "\n   ".join(lines).removesuffix(",")
    where = f"\nwhere {where}" if where else ""
    return f"select\n   {body}\nfrom {SCHEMA}.{table.name}{where}"


def _views() -> Iterator[tuple[str, str]]:
    for type_ in catalogue.types().values():
        yield type_.view, view(type_)
    item = catalogue.types()["item"]
    for name, (parent, ids) in _LINE_ITEMS.items():
        fields = {
            _RENAMED.get(field, field): (field, _EXPRESSIONS[kind].format(field))
            for field, kind in item.fields.items()
            if field not in ("id", *_BOOKKEEPING)
        }
        shown = {"id": ("id", "id"), "account": ("", "account"), **fields, parent: ("", "parent")}
        shown |= {each: ("", each) for each in _BOOKKEEPING}
        yield name, _query(shown, mirror_tables.tables["objects"], f"object = 'item' and parent like '{ids}'")
    every = {column.name: ("", column.name) for column in mirror_tables.tables["objects"].columns}
    yield "other_objects", _query(every, mirror_tables.tables["objects"], "")
    yield (
        revenue_tables.HISTORY.name,
        _query(
            {each.name: ("", _quote(each.name)) for each in revenue_tables.HISTORY.columns}, revenue_tables.HISTORY, ""
        ),
    )


VIEWS: dict[str, str] = dict(sorted(_views()))


def foreign(schema: str) -> str:
    """The error message if another tool has created a schema with this name."""
    return (
        f"there is a schema {schema} of another tool: set STRIPE_SCHEMA to another name for the schema of our views, "
        "for example STRIPE_SCHEMA=stripe_sync. Nothing was changed"
    )


def statements(schema: str = VIEWS_SCHEMA) -> list[str]:
    """Return the statements that create the schema and all views. `schema` is the name from STRIPE_SCHEMA."""
    return [
        f"create schema if not exists {schema}",
        f"comment on schema {schema} is '{VIEWS_MARK}'",
        *(f"create view {schema}.{name} as\n{query}" for name, query in VIEWS.items()),
    ]
