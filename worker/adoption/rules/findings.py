"""Plain values that describe the content of a database, and the findings on it."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from schema.names import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column in the catalog. `type` is the result of format_type."""

    name: str
    type: str
    nullable: bool
    default: str | None = None
    generated: bool = False
    is_enum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index. In `columns`, None stands for an expression. `definition` is the result of pg_get_indexdef."""

    name: str
    columns: tuple[str | None, ...]
    unique: bool
    where: str | None
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key. `on_delete` is a letter: a no action, r restrict, c cascade, n set null, d set default."""

    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, or another kind of relation.

    `kind` is the letter in pg_class: r table, p partitioned, v view, f foreign.
    """

    name: str
    kind: str
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    triggers: frozenset[str] = frozenset()

    @property
    def keys(self) -> set[frozenset[str]]:
        """The sets of columns that are unique, including the primary key."""
        return {
            frozenset(name for name in index.columns if name)
            for index in self.indexes
            if index.unique and index.where is None and None not in index.columns
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function: its name with its argument types, as for `drop function`, and its body."""

    signature: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The content of a database.

    `relations` are the relations of `public` and of other requested schemas; outside `public`, a name includes the schema.
    `enums` are the enum types by SQL name, with their labels. `functions` are our functions that exist, by our names.
    `foreign_schemas` have the name of one of our schemas, but belong to another tool. `names` is the record of an
    earlier adoption. `aside` is the content of `sync_names`: the kind of each relation, and "type" for types.
    """

    relations: Mapping[str, Relation] = field(default_factory=dict)
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    foreign_schemas: frozenset[str] = frozenset()
    revision: str | None = None
    aside: Mapping[str, str] = field(default_factory=dict)
    names: Names | None = None


class Verdict(enum.StrEnum):
    """The verdict on one part: `differs` works without a change, `left` is not ours to change, `conflict` blocks adoption."""

    FITS = "fits"
    MISSING = "missing"
    DIFFERS = "differs"
    LEFT = "left"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A query that counts rows. If the count is not 0, the finding gets this verdict and reason, with `{number}` replaced."""

    query: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding.

    `statements` add what is missing. If `early`, they must be committed before the others, because a new enum label can't be
    used in the transaction that adds it. `relaxes` is a statement for --relax: it drops a constraint that may refuse our
    rows.
    """

    table: str
    what: str
    verdict: Verdict
    reason: str
    statements: tuple[str, ...] = ()
    proof: Proof | None = None
    early: bool = False
    relaxes: str | None = None
