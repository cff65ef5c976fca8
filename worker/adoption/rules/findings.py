"""The content of a database, and the findings on it: plain values."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from schema.names import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the catalogue has it; `type` is format_type's."""

    name: str
    type: str
    nullable: bool
    default: str | None = None
    generated: bool = False
    is_enum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index; an expression stands as None in `columns`, and `definition` is what pg_get_indexdef says."""

    name: str
    columns: tuple[str | None, ...]
    unique: bool
    where: str | None
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """`on_delete` is pg_constraint's letter: a no action, r restrict, c cascade, n set null, d set default."""

    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, or what else bears the name. `kind` is pg_class's letter: r table, p partitioned, v view, f foreign."""

    name: str
    kind: str
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    triggers: frozenset[str] = frozenset()

    @property
    def keys(self) -> set[frozenset[str]]:
        """The sets of columns that are unique by themselves, primary key included."""
        return {
            frozenset(name for name in index.columns if name)
            for index in self.indexes
            if index.unique and index.where is None and None not in index.columns
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function: its name with the types of its arguments, as `drop function` wants it, and its body."""

    signature: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A database. `relations` are those of `public`, and with their schema the others that were asked for; `enums` are the
    enum types with their labels, as SQL spells them; `functions` are those of ours that are there, by our name for them;
    `foreign_schemas` are named as ours and hold something, although nothing of ours was ever installed.

    `names` is what an earlier adoption recorded, and `aside` what `sync_names` holds: relations by kind, types as "type".
    """

    relations: Mapping[str, Relation] = field(default_factory=dict)
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    foreign_schemas: frozenset[str] = frozenset()
    revision: str | None = None
    aside: Mapping[str, str] = field(default_factory=dict)
    names: Names | None = None


class Verdict(enum.StrEnum):
    """The verdict on one thing: `differs` works as it is, `left` is not ours to touch, a `conflict` blocks."""

    FITS = "fits"
    MISSING = "missing"
    DIFFERS = "differs"
    LEFT = "left"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A count of rows that is to be 0, and what is true otherwise: `{number}` of them."""

    query: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was compared. `statements` add what is missing; `early` ones must be committed before the others
    (a new label of an enum can't be used in the transaction that adds it). `relaxes` drops a constraint that would hold rows
    of ours back, where the operator wants that."""

    table: str
    what: str
    verdict: Verdict
    reason: str
    statements: tuple[str, ...] = ()
    proof: Proof | None = None
    early: bool = False
    relaxes: str | None = None
