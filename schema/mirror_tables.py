"""The tables of `schema.mirror` as SQLAlchemy tables."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from schema import mirror
from schema.base import metadata
from schema.mirror import MirrorTable

_TIME = DateTime(timezone=True)
_TYPES: dict[str, TypeEngine[Any]] = {
    "text": Text(),
    "bigint": BigInteger(),
    "boolean": Boolean(),
    "timestamptz": _TIME,
    "numeric": Numeric(),
    "jsonb": JSONB(),
}


def _table(declared: MirrorTable) -> Table:
    name = declared.name
    by_created = ("object", "account", "created") if declared.is_shared else ("account", "created")
    return Table(
        name,
        metadata,
        *([Column("object", Text, primary_key=True)] if declared.is_shared else []),
        Column("id", Text, primary_key=True),
        Column("account", Text, primary_key=True, server_default="", comment="connected account; empty for our own"),
        *(Column(column, _TYPES[kind]) for column, kind in declared.own.items()),
        Column("created", _TIME, comment="Stripe's clock; null if the object has none"),
        Column("deleted", Boolean, nullable=False, server_default=text("false")),
        Column("data", JSONB, nullable=False, comment="the object as Stripe sent it"),
        Column("observed_at", _TIME, nullable=False, comment="Stripe's clock; it never decreases"),
        Column(
            "observed_rank",
            BigInteger,
            nullable=False,
            comment="0: a creation, 1: an update or a read, 2: a deletion",
        ),
        Column("observed_in", Text, nullable=False, comment="the event or read that showed the content"),
        Column("content_hash", Text, nullable=False),
        Column(
            "shape",
            Text,
            nullable=False,
            comment="API major version of the content; empty if only the deletion is known",
        ),
        Column(
            "rev",
            BigInteger,
            nullable=False,
            server_default=text("1"),
            comment="raised by every event or read that is applied",
        ),
        Column(
            "unsettled",
            Boolean,
            nullable=False,
            server_default=text("false"),
            comment="uncertain, and will be read again",
        ),
        Column("synced_at", _TIME, nullable=False, server_default=text("now()")),
        # Queries name the account too. With the account in the index, the planner chooses it even without statistics.
        *(
            Index(f"ix_{name}_{index[0]}", index[0], "account") if len(index) == 1 else Index(None, *index)
            for index in declared.indexes
        ),
        *(
            Index(f"ix_{name}_{column}", column, postgresql_where=text(f"{column} is not null"))
            for column in declared.sparse
        ),
        *([Index(f"ix_{name}_created", *by_created)] if declared.listed else []),
        # This index is on the id. An index on observed_at, which every event changes, would prevent HOT updates.
        Index(f"ix_{name}_unsettled", "id", postgresql_where=text("unsettled")),
        schema=mirror.SCHEMA,
    )


tables = {name: _table(declared) for name, declared in mirror.tables.items()}
