"""The content of a database, and the findings on it: plain values."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from schema.names import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the catalogue; `type` is spelled as format_type does."""

    name: str
    type: str
    nullable: bool
    default: str | None = None
    generated: bool = False
    is_enum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index. An expression is None in `columns`; `definition` is the result of pg_get_indexdef."""

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
    """A table, or another relation of its name.

    `kind` is pg_class's letter: r table, p partitioned, v view, f foreign.
    """

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
    """A function: its name with its argument types, as `drop function` takes it, and its body."""

    signature: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The content of a database.

    `relations` are the relations of `public`, and those of other requested schemas, written with the schema. `enums`
    are the enum types with their labels, as SQL spells them. `functions` are our functions that exist, by our name for
    them. `foreign_schemas` have the name of one of our schemas and belong to another tool. `names` is the record of an
    earlier adoption, and `aside` the content of `sync_names`: relations by kind, and types as "type".
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
    """A count of rows that should be 0, and the message if it is not, with `{number}` for the count."""

    query: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding.

    `statements` add what is missing. `early` statements must be committed before the others, because a new label of an
    enum can't be used in the transaction that adds it. `relaxes` drops a constraint that would refuse our rows; it runs
    only if the operator asks for it.
    """

    table: str
    what: str
    verdict: Verdict
    reason: str
    statements: tuple[str, ...] = ()
    proof: Proof | None = None
    early: bool = False
    relaxes: str | None = None
