"""What fits, what is missing and what conflicts, table by table: a comparison of what was found with the schema."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Column as Declared
from sqlalchemy import Enum, ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint

from schema.functions import KEYS, ROW_IDS, TOUCHED_TABLES, touch_trigger
from schema.names import Names, public_tables, quoted
from worker.adoption.rules import ddl
from worker.adoption.rules.findings import Column, Finding, Found, Proof, Relation, Verdict
from worker.adoption.rules.types import judge, judge_id, stands_for

# What Auth.js keeps. The daemon reads nothing of it, so an application that has its own way to sign in keeps that.
SIGN_IN = ("accounts", "sessions", "verification_tokens")
# What every insert of ours sends, never null. The rest of what can't be null needs a default.
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
# Keys that the daemon's own statements stand on. Others are kept where they hold.
_NEEDED_KEYS = {
    ("stripe_customers", "stripe_customer_id"),
    ("user_subscriptions", "stripe_subscription_id"),
    ("payment_history", "stripe_payment_intent_id"),
}
# Columns of users that the daemon reads, and that hold something for every user.
_NEVER_NULL = frozenset({"id", "role", "membership_status", "tokens"})
_ON_DELETE = {"CASCADE": "c", "SET NULL": "n", None: "a"}
_LABEL = re.compile(r"'([^']*)'")


def names_of(given: Names, found: Found, *, membership: bool) -> Names:
    """The names to work with: those that were given, the types that stand for our enums, the tables that are left out."""
    if not membership:
        # What an earlier adoption made stays; the setting alone keeps the workers away from it.
        if found.revision is not None:
            return found.names or Names()
        types = {name: f"sync_names.{name}" for name in ("user_role", "membership_status")}
        return Names(left_out=frozenset(public_tables()), types=types)
    types = {}
    users = found.relations.get(given.table("users"))
    for ours, type_ in (("role", "user_role"), ("membership_status", "membership_status")):
        column = users.columns.get(given.column("users", ours)) if users else None
        if column is not None and column.type != type_:
            types[type_] = stands_for(column)
    ids = {table: of for table in ("users", "organizations", *ROW_IDS) if (of := _id_type(table, given, found))}
    named = replace(given, types=types, ids=ids)
    return replace(named, left_out=frozenset(_left_out(named, found)))


def _id_type(table: str, names: Names, found: Found) -> str | None:
    """The type of the table's ids where the application has made it, and they are not text."""
    relation = found.relations.get(names.table(table))
    column = relation.columns.get(names.column(table, "id")) if relation else None
    return column.type if column is not None and column.type in KEYS else None


def _left_out(names: Names, found: Found) -> Iterator[str]:
    is_new = users_are_new(names, found) and not any(names.table(table) in found.relations for table in SIGN_IN)
    for table in SIGN_IN:
        said = list(compare_table(public_tables()[table], names, found))
        if not is_new and any(one.verdict in (Verdict.MISSING, Verdict.CONFLICT) for one in said):
            yield table


def users_are_new(names: Names, found: Found) -> bool:
    return names.table("users") not in found.relations and not _look_alikes("users", found.relations)


def compare_table(ours: Table, names: Names, found: Found) -> Iterator[Finding]:
    """Everything that is said of one of the application's tables."""
    name = ours.name
    if name in names.left_out:
        real = names.table(name)
        said = f"{real} is the application's own and is not used" if real in found.relations else "is not needed here"
        yield Finding(table=name, what="table", verdict=Verdict.LEFT, said=said)
        return
    relation = found.relations.get(names.table(name))
    if relation is None:
        yield _absent(ours, names, found)
        return
    if relation.kind not in ("r", "p"):
        said = f"{relation.name} is a view or a foreign table: name the table itself in [membership.tables]"
        yield Finding(table=name, what="table", verdict=Verdict.CONFLICT, said=said)
        return
    yield Finding(table=name, what="table", verdict=Verdict.FITS, said=f"is {names.relation(name)}")
    for column in ours.columns:
        yield from _column(column, names, found, relation)
    yield from _others(ours, names, relation)
    yield from _keys(ours, names, relation)
    yield from _references(ours, names, found, relation)
    yield from _indexes(ours, names, relation)
    if name in TOUCHED_TABLES:
        yield _trigger(name, names, relation)
    if name == "users":
        yield _user_triggers(names, relation)


def _absent(ours: Table, names: Names, found: Found) -> Finding:
    name = ours.name
    alike = _look_alikes(name, found.relations) if name not in names.tables else []
    if alike:
        said = (
            f"there is none, but {' and '.join(map(quoted, alike))}: say which it is under [membership.tables] "
            f'({name} = "{alike[0]}"), or {name} = "{name}" for one of its own'
        )
        return Finding(table=name, what="table", verdict=Verdict.CONFLICT, said=said)
    is_ours = name in TOUCHED_TABLES and names.column(name, "updated_at") == "updated_at"
    statements = (*ddl.create_table(ours, names), *([touch_trigger(names.relation(name))] if is_ours else []))
    if name == "users":
        statements += tuple(names.user_triggers.values())
    return Finding(
        table=name,
        what="table",
        verdict=Verdict.MISSING,
        said=f"{names.relation(name)} is created",
        statements=statements,
    )


def _column(ours: Any, names: Names, found: Found, relation: Relation) -> Iterator[Finding]:
    table, name = ours.table.name, ours.name
    column = relation.columns.get(names.column(table, name))
    said = Finding(table=table, what=f"column {name}", verdict=Verdict.FITS, said="")
    if column is None:
        yield _absent_column(ours, names, relation, said)
        return
    judged = judge_id(ours, column, names.id_type(ours)) if _holds_ids(ours) else None
    verdict, reason = judged or judge(table, name, ours.type, column, found.enums)
    if verdict is Verdict.CONFLICT:
        yield replace(said, verdict=verdict, said=f"{quoted(column.name)} {reason}")
    elif (fault := _null_or_default(ours, column)) is not None:
        yield replace(said, verdict=Verdict.CONFLICT, said=fault)
    elif verdict is not Verdict.MISSING and _is_stricter(ours, column):
        yield _holds_back(said, names, column, "a row for which Stripe has nothing there is held back")
    elif verdict is Verdict.MISSING:
        yield replace(
            said,
            verdict=verdict,
            said=reason,
            statements=tuple(ddl.add_labels(ours.type, column, found.enums)),
            early=True,
        )
    else:
        renamed = f"is {quoted(column.name)}" if column.name != name else ""
        yield replace(said, verdict=verdict, said="; ".join(part for part in (renamed, reason) if part))
    if verdict is not Verdict.CONFLICT and table == "users":
        yield from _held(ours, column, names)


def _holds_ids(ours: Any) -> bool:
    """Whether the column holds ids that may be of another type than text: the application's own, and never Stripe's."""
    targets = {key.column.table.name for key in ours.foreign_keys} or (
        {ours.table.name} if ours.name == "id" else set()
    )
    return not targets.isdisjoint(("users", "organizations", *ROW_IDS))


def _absent_column(ours: Any, names: Names, relation: Relation, said: Finding) -> Finding:
    table, name = ours.table.name, ours.name
    alike = [] if name in names.columns.get(table, {}) else _look_alikes(name, relation.columns)
    named = f"[membership.columns.{table}]"
    if alike:
        reason = (
            f'there is none, but {quoted(alike[0])}: say so under {named} ({name} = "{alike[0]}"), or give another name'
        )
        return replace(said, verdict=Verdict.CONFLICT, said=reason)
    if (not ours.nullable and ours.server_default is None) or ours.primary_key:
        reason = (
            f"there is none, and it can be neither null nor guessed: name the column under {named}, or give "
            f"{table} another name under [membership.tables], and it is made anew"
        )
        return replace(said, verdict=Verdict.CONFLICT, said=reason)
    statement, shown = ddl.add_column(ours, names)
    return replace(said, verdict=Verdict.MISSING, said=f"{shown} is added", statements=(statement,))


def _null_or_default(ours: Any, column: Column) -> str | None:
    """What of the column's NOT NULL or default would refuse what we write, or leave us without what we read."""
    table, given = ours.table.name, column.default is not None or column.generated
    name = quoted(column.name)
    if table != "users":
        return None
    if isinstance(ours.type, Enum) and column.default is not None:
        label = _LABEL.match(column.default)
        wanted = ours.server_default.arg
        if label and label[1] != wanted and ours.name == "role":
            return (
                f"new users get {label[1]}, and the daemon knows {wanted} (it gives PREMIUM and takes it; other roles "
                f'it never touches): let the default be {wanted}, or map role to a new name (role = "membership_role")'
            )
    if ours.name in _NEVER_NULL and column.nullable and not given:
        return f"{name} may be null and has no default: give it one (alter column {name} set default ...)"
    return None


def _is_stricter(ours: Any, column: Column) -> bool:
    """Whether the column wants a value where we may have none."""
    given = column.default is not None or column.generated
    sent = _SENT.get(ours.table.name)
    return sent is not None and not column.nullable and (ours.nullable or (ours.name not in sent and not given))


def _holds_back(said: Finding, names: Names, column: Column, reason: str) -> Finding:
    """A NOT NULL is no conflict: rows that it refuses wait, until it is dropped or they have a value."""
    name = quoted(column.name)
    return replace(
        said,
        verdict=Verdict.DIFFERS,
        said=f"{name} is not null: {reason}, and named by `status` and `why` (--relax drops the constraint)",
        relaxes=f"alter table {names.relation(said.table)} alter column {name} drop not null",
    )


def _held(ours: Any, column: Column, names: Names) -> Iterator[Finding]:
    """What is asked of the values that users hold today."""
    name, relation, quoted_name = ours.name, names.relation("users"), quoted(column.name)
    said = Finding(table="users", what=f"values of {name}", verdict=Verdict.FITS, said="")
    if isinstance(ours.type, Enum):
        known = ", ".join(f"'{label}'" for label in ours.type.enums)
        verdict = Verdict.DIFFERS if name == "role" else Verdict.CONFLICT
        yield replace(
            said,
            proof=Proof(
                query=f"select count(*) from {relation} where {quoted_name}::text not in ({known})",
                verdict=verdict,
                said="{number} users hold roles of the application's own: the daemon never touches those"
                if name == "role"
                else f"{{number}} users hold a status that is none of {known}",
            ),
        )
    if name in _NEVER_NULL and column.nullable:
        yield replace(
            said,
            what=f"nulls of {name}",
            proof=Proof(
                query=f"select count(*) from {relation} where {quoted_name} is null",
                verdict=Verdict.CONFLICT,
                said="{number} users have null there: set it first",
            ),
        )


def _others(ours: Table, names: Names, relation: Relation) -> Iterator[Finding]:
    """Columns of the application's own in a table that we insert into."""
    if ours.name not in _SENT:
        return
    known = {names.column(ours.name, column.name) for column in ours.columns}
    for column in relation.columns.values():
        if column.name not in known and not (column.nullable or column.generated or column.default is not None):
            said = Finding(table=ours.name, what=f"column {column.name}", verdict=Verdict.DIFFERS, said="")
            yield _holds_back(said, names, column, "it has no default, so every row of ours is held back")


def _keys(ours: Table, names: Names, relation: Relation) -> Iterator[Finding]:
    for constraint in ddl.sorted_constraints(ours, PrimaryKeyConstraint, UniqueConstraint):
        columns = [column.name for column in constraint.columns]
        real = [names.column(ours.name, name) for name in columns]
        what = f"unique ({', '.join(columns)})"
        if frozenset(real) in relation.keys:
            yield Finding(table=ours.name, what=what, verdict=Verdict.FITS, said="")
            continue
        needed = isinstance(constraint, PrimaryKeyConstraint) or (ours.name, *columns) in _NEEDED_KEYS
        listed = ", ".join(map(quoted, real))
        proof = Proof(
            query=f"select count(*) from (select from {names.relation(ours.name)} where "
            + " and ".join(f"{quoted(name)} is not null" for name in real)
            + f" group by {listed} having count(*) > 1) as doubled",
            verdict=Verdict.CONFLICT if needed else Verdict.DIFFERS,
            said="{number} values are there more than once" + (": mend them first" if needed else "; it is not added"),
        )
        yield Finding(
            table=ours.name,
            what=what,
            verdict=Verdict.MISSING,
            said="is added",
            statements=(ddl.add_unique(ours, constraint, names),),
            proof=proof if all(name in relation.columns for name in real) else None,
        )


def _references(ours: Table, names: Names, found: Found, relation: Relation) -> Iterator[Finding]:
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
        said = Finding(table=ours.name, what=f"foreign key {', '.join(columns)}", verdict=Verdict.FITS, said="")
        if there is not None:
            if there.on_delete != _ON_DELETE[constraint.ondelete]:
                said = replace(
                    said, verdict=Verdict.DIFFERS, said=f"is not `on delete {constraint.ondelete}`; it stays"
                )
            yield said
            continue
        column, key = quoted(real[0]), quoted(to[0])
        among = f" and not exists (select from {names.relation(target)} as t where t.{key} = r.{column})"
        proof = Proof(
            query=f"select count(*) from {names.relation(ours.name)} as r where r.{column} is not null"
            + (among if names.table(target) in found.relations else ""),
            verdict=Verdict.DIFFERS,
            said=f"{{number}} rows refer to no row of {target}; it is not added",
        )
        yield replace(
            said,
            verdict=Verdict.MISSING,
            said=f"to {names.relation(target)} is added",
            statements=(ddl.add_reference(ours, constraint, names),),
            proof=proof if real[0] in relation.columns else None,
        )


def _indexes(ours: Table, names: Names, relation: Relation) -> Iterator[Finding]:
    for index in sorted(ours.indexes, key=lambda found: str(found.name)):
        said = Finding(table=ours.name, what=f"index {index.name}", verdict=Verdict.FITS, said="")
        if any(found.name == index.name for found in relation.indexes) or _has_index(ours, index, names, relation):
            yield said
        else:
            statement = ddl.create_index(ours, index, names)
            yield replace(said, verdict=Verdict.MISSING, said="is created", statements=(statement,))


def _has_index(ours: Table, index: Any, names: Names, relation: Relation) -> bool:
    """Whether an index of another name serves as well: it begins with the same columns, and covers all rows."""
    if not all(isinstance(part, Declared) for part in index.expressions):
        column = quoted(names.column(ours.name, "email"))
        folded = re.compile(rf"lower\(\(?{re.escape(column)}\)?(::text)?\)")
        return any(found.where is None and folded.search(found.definition) for found in relation.indexes)
    wanted = tuple(names.column(ours.name, part.name) for part in index.expressions)
    return any(found.where is None and found.columns[: len(wanted)] == wanted for found in relation.indexes)


def _trigger(table: str, names: Names, relation: Relation) -> Finding:
    said = Finding(table=table, what="trigger touch_updated_at", verdict=Verdict.FITS, said="")
    if "touch_updated_at" in relation.triggers:
        return said
    column = relation.columns.get("updated_at")
    if names.column(table, "updated_at") != "updated_at" or (column and column.type != "timestamp with time zone"):
        return replace(said, verdict=Verdict.DIFFERS, said="is not added: the application keeps its updated_at itself")
    return replace(said, verdict=Verdict.MISSING, said="is created", statements=(touch_trigger(names.relation(table)),))


def _user_triggers(names: Names, relation: Relation) -> Finding:
    said = Finding(table="users", what="triggers of users", verdict=Verdict.FITS, said="")
    statements = tuple(made for name, made in names.user_triggers.items() if name not in relation.triggers)
    if not statements:
        return said
    return replace(said, verdict=Verdict.MISSING, said="are created", statements=statements)


def _look_alikes(name: str, others: Iterable[str]) -> list[str]:
    """Names that differ from ours in case, underscores or a plural alone."""
    return sorted(other for other in others if other != name and _folded(other) == _folded(name))


def _folded(name: str) -> str:
    return name.lower().replace("_", "").rstrip("s")
