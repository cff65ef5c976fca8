"""Compare the application's tables with our schema: find the parts that fit, are missing, or conflict."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Column as Declared
from sqlalchemy import Enum, ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint

from schema.functions import KEYS, ROW_IDS, TOUCHED_TABLES, WORDS, touch_trigger
from schema.names import Names, public_tables, quoted
from worker.adoption.rules import ddl
from worker.adoption.rules.findings import Column, Finding, Found, Proof, Relation, Verdict
from worker.adoption.rules.types import judge, judge_id, stands_for

# The tables of Auth.js. The daemon does not read them, so an application with another sign-in keeps its own tables.
SIGN_IN = ("accounts", "sessions", "verification_tokens")
# Columns that all of our inserts fill with values that are not null. Other columns that can't be null need a default.
_SENT: Mapping[str, frozenset[str]] = {
    "stripe_products": frozenset({"id", "name", "active", "metadata", "created_at", "updated_at"}),
    "stripe_prices": frozenset({"id", "product_id", "active", "metadata", "created_at", "updated_at"}),
    "stripe_customers": frozenset({"id", "user_id", "stripe_customer_id", "created_at", "updated_at"}),
    "user_subscriptions": frozenset(
        {"id", "user_id", "stripe_customer_id", "stripe_subscription_id", "status", "cancel_at_period_end", "metadata",
         "created_at", "updated_at"}
    ),
    "payment_history": frozenset(
        {"id", "user_id", "stripe_payment_intent_id", "amount", "currency", "status", "metadata", "created_at",
         "updated_at"}
    ),
}  # fmt: skip
# Keys that our statements rely on. Other keys may differ.
_NEEDED_KEYS = {
    ("stripe_customers", "stripe_customer_id"),
    ("user_subscriptions", "stripe_subscription_id"),
    ("payment_history", "stripe_payment_intent_id"),
}
# Columns of users that the daemon reads, and that must have a value for every user.
_NEVER_NULL = frozenset({"id", "role", "membership_status", "tokens"})
_ON_DELETE = {"CASCADE": "c", "SET NULL": "n", None: "a"}
_LABEL = re.compile(r"'([^']*)'")


def names_of(given: Names, actual: Found, *, membership: bool) -> Names:
    """The names to use: the given names, the types that stand for our enums, and the tables that are left out."""
    if not membership:
        # Objects that an earlier adoption added stay. The setting MEMBERSHIP=off is enough to keep the workers away from them.
        if actual.revision is not None:
            return actual.names or Names()
        types = {name: f"sync_names.{name}" for name in ("user_role", "membership_status")}
        return Names(left_out=frozenset(public_tables()), types=types)
    types = {}
    users = actual.relations.get(given.table("users"))
    for ours, type_ in (("role", "user_role"), ("membership_status", "membership_status")):
        column = users.columns.get(given.column("users", ours)) if users else None
        if column is not None and column.type != type_:
            types[type_] = stands_for(column)
    ids = {table: of for table in ("users", "organizations", *ROW_IDS) if (of := _id_type(table, given, actual))}
    words = {f"{table}.{name}": of for table, name in WORDS if (of := _enum_of(table, name, given, actual))}
    named = replace(given, types=types, ids=ids, words=words)
    return replace(named, left_out=frozenset(_left_out(named, actual)))


def _id_type(table: str, names: Names, actual: Found) -> str | None:
    """The type of the table's ids, if the application created the table and its ids are not text."""
    relation = actual.relations.get(names.table(table))
    column = relation.columns.get(names.column(table, "id")) if relation else None
    return column.type if column is not None and column.type in KEYS else None


def _enum_of(table: str, ours: str, names: Names, actual: Found) -> str | None:
    """The application's enum, if it has one for a column with Stripe's words."""
    relation = actual.relations.get(names.table(table))
    column = relation.columns.get(names.column(table, ours)) if relation else None
    return column.type if column is not None and column.is_enum else None


def _left_out(names: Names, actual: Found) -> Iterator[str]:
    is_new = users_are_new(names, actual) and not any(names.table(table) in actual.relations for table in SIGN_IN)
    for table in SIGN_IN:
        finding = list(compare_table(public_tables()[table], names, actual))
        if not is_new and any(one.verdict in (Verdict.MISSING, Verdict.CONFLICT) for one in finding):
            yield table


def users_are_new(names: Names, actual: Found) -> bool:
    return names.table("users") not in actual.relations and not _look_alikes("users", actual.relations)


def compare_table(ours: Table, names: Names, actual: Found) -> Iterator[Finding]:
    """All findings on one of the application's tables."""
    name = ours.name
    if name in names.left_out:
        real = names.table(name)
        finding = (
            f"{real} belongs to the application and is not used" if real in actual.relations else "is not needed here"
        )
        yield Finding(table=name, what="table", verdict=Verdict.LEFT, reason=finding)
        return
    relation = actual.relations.get(names.table(name))
    if relation is None:
        yield _absent(ours, names, actual)
        return
    if relation.kind not in ("r", "p"):
        finding = f"{relation.name} is a view or a foreign table: name the table itself in [membership.tables]"
        yield Finding(table=name, what="table", verdict=Verdict.CONFLICT, reason=finding)
        return
    yield Finding(table=name, what="table", verdict=Verdict.FITS, reason=f"is {names.relation(name)}")
    for column in ours.columns:
        yield from _column(column, names, actual, relation)
    yield from _others(ours, names, relation)
    yield from _keys(ours, names, relation)
    yield from _references(ours, names, actual, relation)
    yield from _indexes(ours, names, relation)
    if name in TOUCHED_TABLES:
        yield _trigger(name, names, relation)
    if name == "users":
        yield _user_triggers(names, relation)


def _absent(ours: Table, names: Names, actual: Found) -> Finding:
    name = ours.name
    alike = _look_alikes(name, actual.relations) if name not in names.tables else []
    if alike:
        finding = (
            f"there is none, but there is {' and '.join(map(quoted, alike))}: name the table under [membership.tables] "
            f'({name} = "{alike[0]}"), or set {name} = "{name}" to create a new table'
        )
        return Finding(table=name, what="table", verdict=Verdict.CONFLICT, reason=finding)
    is_ours = name in TOUCHED_TABLES and names.column(name, "updated_at") == "updated_at"
    statements = (*ddl.create_table(ours, names), *([touch_trigger(names.relation(name))] if is_ours else []))
    if name == "users":
        statements += tuple(names.user_triggers.values())
    return Finding(
        table=name,
        what="table",
        verdict=Verdict.MISSING,
        reason=f"{names.relation(name)} is created",
        statements=statements,
    )


def _column(ours: Any, names: Names, actual: Found, relation: Relation) -> Iterator[Finding]:
    table, name = ours.table.name, ours.name
    column = relation.columns.get(names.column(table, name))
    finding = Finding(table=table, what=f"column {name}", verdict=Verdict.FITS, reason="")
    if column is None:
        yield _absent_column(ours, names, relation, finding)
        return
    judged = judge_id(ours, column, names.id_type(ours)) if _holds_ids(ours) else None
    verdict, reason = judged or judge(table, name, ours.type, column, actual.enums)
    if verdict is Verdict.CONFLICT:
        yield replace(finding, verdict=verdict, reason=f"{quoted(column.name)} {reason}")
    elif (fault := _null_or_default(ours, column)) is not None:
        yield replace(finding, verdict=Verdict.CONFLICT, reason=fault)
    elif verdict is not Verdict.MISSING and _is_stricter(ours, column):
        yield _holds_back(finding, names, column, "a row is held back if Stripe has no value for it")
    elif verdict is Verdict.MISSING:
        yield replace(
            finding,
            verdict=verdict,
            reason=reason,
            statements=tuple(ddl.add_labels(ours, column, actual.enums)),
            early=True,
        )
    else:
        renamed = f"is {quoted(column.name)}" if column.name != name else ""
        yield replace(finding, verdict=verdict, reason="; ".join(part for part in (renamed, reason) if part))
    if verdict is not Verdict.CONFLICT and table == "users":
        yield from _held(ours, column, names)


def _holds_ids(ours: Any) -> bool:
    """Whether the column has ids that the application assigns.

    Such ids need not be text. Stripe's ids are always text.
    """
    targets = {key.column.table.name for key in ours.foreign_keys} or (
        {ours.table.name} if ours.name == "id" else set()
    )
    return not targets.isdisjoint(("users", "organizations", *ROW_IDS))


def _absent_column(ours: Any, names: Names, relation: Relation, finding: Finding) -> Finding:
    table, name = ours.table.name, ours.name
    alike = [] if name in names.columns.get(table, {}) else _look_alikes(name, relation.columns)
    named = f"[membership.columns.{table}]"
    if alike:
        reason = (
            f'there is none, but there is {quoted(alike[0])}: name it under {named} ({name} = "{alike[0]}"), or set another '
            "name"
        )
        return replace(finding, verdict=Verdict.CONFLICT, reason=reason)
    if (not ours.nullable and ours.server_default is None) or ours.primary_key:
        reason = (
            f"there is none, and it can't be null and has no default: name the column under {named}, or give "
            f"{table} another name under [membership.tables], so that a new table is created"
        )
        return replace(finding, verdict=Verdict.CONFLICT, reason=reason)
    statement, shown = ddl.add_column(ours, names)
    return replace(finding, verdict=Verdict.MISSING, reason=f"{shown} is added", statements=(statement,))


def _null_or_default(ours: Any, column: Column) -> str | None:
    """The problem with a column of users, if it may be null without a default, or if new users get an unknown role."""
    table, given = ours.table.name, column.default is not None or column.generated
    name = quoted(column.name)
    if table != "users":
        return None
    if isinstance(ours.type, Enum) and column.default is not None:
        label = _LABEL.match(column.default)
        wanted = ours.server_default.arg
        if label and label[1] != wanted and ours.name == "role":
            return (
                f"new users get {label[1]}, but the daemon expects {wanted} (it grants and revokes PREMIUM, and never changes "
                f'other roles): change the default to {wanted}, or map role to a new name (role = "membership_role")'
            )
    if ours.name in _NEVER_NULL and column.nullable and not given:
        return f"{name} may be null and has no default: give it one (alter column {name} set default ...)"
    return None


def _is_stricter(ours: Any, column: Column) -> bool:
    """Whether the column requires a value that we may not have."""
    given = column.default is not None or column.generated
    sent = _SENT.get(ours.table.name)
    return sent is not None and not column.nullable and (ours.nullable or (ours.name not in sent and not given))


def _holds_back(finding: Finding, names: Names, column: Column, reason: str) -> Finding:
    """A finding on NOT NULL, which is not a conflict: refused rows wait for a value, or until NOT NULL is dropped."""
    name = quoted(column.name)
    return replace(
        finding,
        verdict=Verdict.DIFFERS,
        reason=f"{name} is not null: {reason}, and `status` and `why` report it (--relax drops the constraint)",
        relaxes=f"alter table {names.relation(finding.table)} alter column {name} drop not null",
    )


def _held(ours: Any, column: Column, names: Names) -> Iterator[Finding]:
    """Findings that count users with values that the daemon can't handle."""
    name, relation, quoted_name = ours.name, names.relation("users"), quoted(column.name)
    finding = Finding(table="users", what=f"values of {name}", verdict=Verdict.FITS, reason="")
    if isinstance(ours.type, Enum):
        known = ", ".join(f"'{label}'" for label in ours.type.enums)
        verdict = Verdict.DIFFERS if name == "role" else Verdict.CONFLICT
        yield replace(
            finding,
            proof=Proof(
                query=f"select count(*) from {relation} where {quoted_name}::text not in ({known})",
                verdict=verdict,
                reason="{number} users have roles that only the application knows: the daemon never changes them"
                if name == "role"
                else f"{{number}} users have a status that is none of {known}",
            ),
        )
    if name in _NEVER_NULL and column.nullable:
        yield replace(
            finding,
            what=f"nulls of {name}",
            proof=Proof(
                query=f"select count(*) from {relation} where {quoted_name} is null",
                verdict=Verdict.CONFLICT,
                reason="{number} users have null: set a value first",
            ),
        )


def _others(ours: Table, names: Names, relation: Relation) -> Iterator[Finding]:
    """Find required columns of the application in tables that we insert into."""
    if ours.name not in _SENT:
        return
    known = {names.column(ours.name, column.name) for column in ours.columns}
    for column in relation.columns.values():
        if column.name not in known and not (column.nullable or column.generated or column.default is not None):
            finding = Finding(table=ours.name, what=f"column {column.name}", verdict=Verdict.DIFFERS, reason="")
            yield _holds_back(finding, names, column, "it has no default, so all of our rows are held back")


def _keys(ours: Table, names: Names, relation: Relation) -> Iterator[Finding]:
    for constraint in ddl.sorted_constraints(ours, PrimaryKeyConstraint, UniqueConstraint):
        columns = [column.name for column in constraint.columns]
        real = [names.column(ours.name, name) for name in columns]
        what = f"unique ({', '.join(columns)})"
        if frozenset(real) in relation.keys:
            yield Finding(table=ours.name, what=what, verdict=Verdict.FITS, reason="")
            continue
        needed = isinstance(constraint, PrimaryKeyConstraint) or (ours.name, *columns) in _NEEDED_KEYS
        listed = ", ".join(map(quoted, real))
        proof = Proof(
            query=f"select count(*) from (select from {names.relation(ours.name)} where "
            + " and ".join(f"{quoted(name)} is not null" for name in real)
            + f" group by {listed} having count(*) > 1) as doubled",
            verdict=Verdict.CONFLICT if needed else Verdict.DIFFERS,
            reason="{number} values are not unique" + (": fix them first" if needed else "; the key is not added"),
        )
        yield Finding(
            table=ours.name,
            what=what,
            verdict=Verdict.MISSING,
            reason="is added",
            statements=(ddl.add_unique(ours, constraint, names),),
            proof=proof if all(name in relation.columns for name in real) else None,
        )


def _references(ours: Table, names: Names, actual: Found, relation: Relation) -> Iterator[Finding]:
    for constraint in ddl.sorted_constraints(ours, ForeignKeyConstraint):
        target = constraint.referred_table.name
        columns = [element.parent.name for element in constraint.elements]
        real = tuple(names.column(ours.name, name) for name in columns)
        to = tuple(names.column(target, element.column.name) for element in constraint.elements)
        there = next(
            (
                key
                for key in relation.foreign_keys
                if (key.columns, key.to, key.to_columns) == (real, names.table(target), to)
            ),
            None,
        )
        finding = Finding(table=ours.name, what=f"foreign key {', '.join(columns)}", verdict=Verdict.FITS, reason="")
        if there is not None:
            if there.on_delete != _ON_DELETE[constraint.ondelete]:
                finding = replace(
                    finding,
                    verdict=Verdict.DIFFERS,
                    reason=f"is not `on delete {constraint.ondelete}`; it is not changed",
                )
            yield finding
            continue
        column, key = quoted(real[0]), quoted(to[0])
        among = f" and not exists (select from {names.relation(target)} as t where t.{key} = r.{column})"
        proof = Proof(
            query=f"select count(*) from {names.relation(ours.name)} as r where r.{column} is not null"
            + (among if names.table(target) in actual.relations else ""),
            verdict=Verdict.DIFFERS,
            reason=f"{{number}} rows refer to missing rows of {target}; the foreign key is not added",
        )
        yield replace(
            finding,
            verdict=Verdict.MISSING,
            reason=f"to {names.relation(target)} is added",
            statements=(ddl.add_reference(ours, constraint, names),),
            proof=proof if real[0] in relation.columns else None,
        )


def _indexes(ours: Table, names: Names, relation: Relation) -> Iterator[Finding]:
    for index in sorted(ours.indexes, key=lambda actual: str(actual.name)):
        finding = Finding(table=ours.name, what=f"index {index.name}", verdict=Verdict.FITS, reason="")
        if any(actual.name == index.name for actual in relation.indexes) or _has_index(ours, index, names, relation):
            yield finding
        else:
            statement = ddl.create_index(ours, index, names)
            yield replace(finding, verdict=Verdict.MISSING, reason="is created", statements=(statement,))


def _has_index(ours: Table, index: Any, names: Names, relation: Relation) -> bool:
    """Whether an index with another name serves instead: it begins with the same columns, and covers all rows."""
    if not all(isinstance(part, Declared) for part in index.expressions):
        column = quoted(names.column(ours.name, "email"))
        folded = re.compile(rf"lower\(\(?{re.escape(column)}\)?(::text)?\)")
        return any(actual.where is None and folded.search(actual.definition) for actual in relation.indexes)
    wanted = tuple(names.column(ours.name, part.name) for part in index.expressions)
    return any(actual.where is None and actual.columns[: len(wanted)] == wanted for actual in relation.indexes)


def _trigger(table: str, names: Names, relation: Relation) -> Finding:
    finding = Finding(table=table, what="trigger touch_updated_at", verdict=Verdict.FITS, reason="")
    if "touch_updated_at" in relation.triggers:
        return finding
    column = relation.columns.get("updated_at")
    if names.column(table, "updated_at") != "updated_at" or (column and column.type != "timestamp with time zone"):
        return replace(
            finding, verdict=Verdict.DIFFERS, reason="is not added: the application maintains its updated_at itself"
        )
    return replace(
        finding, verdict=Verdict.MISSING, reason="is created", statements=(touch_trigger(names.relation(table)),)
    )


def _user_triggers(names: Names, relation: Relation) -> Finding:
    finding = Finding(table="users", what="triggers of users", verdict=Verdict.FITS, reason="")
    statements = tuple(made for name, made in names.user_triggers.items() if name not in relation.triggers)
    if not statements:
        return finding
    return replace(finding, verdict=Verdict.MISSING, reason="are created", statements=statements)


def _look_alikes(name: str, others: Iterable[str]) -> list[str]:
    """The names in `others` that differ from our name only in case, underscores or a plural."""
    return sorted(other for other in others if other != name and _folded(other) == _folded(name))


def _folded(name: str) -> str:
    return name.lower().replace("_", "").rstrip("s")
