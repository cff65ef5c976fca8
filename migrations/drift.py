"""Describe the differences between a database and the metadata."""

from collections.abc import Iterable, Iterator

from alembic.autogenerate import produce_migrations
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData
from sqlalchemy.types import TypeEngine

import schema.tables
from migrations.engine import OPTIONS, connected
from migrations.statement import Statement


def differences(database_url: str, metadata: MetaData = schema.tables.metadata) -> list[str]:
    """Each difference in a sentence; none if the database equals the metadata."""
    with connected(database_url) as connection:
        context = MigrationContext.configure(connection, opts=OPTIONS | {"target_metadata": metadata})
        script = produce_migrations(context, metadata)
        assert script.upgrade_ops is not None
        return list(words(script.upgrade_ops.ops))


def words(operations: Iterable[ops.MigrateOperation]) -> Iterator[str]:
    """Describe the difference that each operation would remove."""
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from words(operation.ops)
        else:
            yield from _words(operation)


def _words(operation: ops.MigrateOperation) -> Iterator[str]:
    match operation:
        case Statement():
            if operation.words:
                yield operation.words
        case ops.CreateTableOp():
            yield f"the table {_table(operation.schema, operation.table_name)} is missing"
        case ops.DropTableOp():
            yield f"the table {_table(operation.schema, operation.table_name)} is not in the metadata"
        case ops.AddColumnOp():
            yield f"the column {_table(operation.schema, operation.table_name)}.{operation.column.name} is missing"
        case ops.DropColumnOp():
            column = f"{_table(operation.schema, operation.table_name)}.{operation.column_name}"
            yield f"the column {column} is not in the metadata"
        case ops.AlterColumnOp():
            yield from _column(operation)
        case ops.CreateIndexOp():
            yield f"the index {operation.index_name} of {_table(operation.schema, operation.table_name)} is missing"
        case ops.DropIndexOp():
            table = _table(operation.schema, operation.table_name or "")
            yield f"the index {operation.index_name} of {table} is not in the metadata, or differs there"
        case ops.AddConstraintOp():
            constraint = operation.to_constraint()
            table = _table(constraint.table.schema, constraint.table.name)
            yield f"the constraint {constraint.name} of {table} is missing"
        case ops.DropConstraintOp():
            table = _table(operation.schema, operation.table_name)
            yield f"the constraint {operation.constraint_name} of {table} is not in the metadata, or differs there"
        case ops.CreateTableCommentOp() | ops.DropTableCommentOp():
            yield f"the comment of {_table(operation.schema, operation.table_name)} differs from the metadata"
        case _:
            yield " ".join(str(part) for part in operation.to_diff_tuple())


def _column(operation: ops.AlterColumnOp) -> Iterator[str]:
    column = f"the column {_table(operation.schema, operation.table_name)}.{operation.column_name}"
    if operation.modify_type is not None:
        is_, should_be = _type(operation.existing_type), _type(operation.modify_type)
        yield f"{column} has the type {is_}, and should have {should_be}"
    if operation.modify_nullable is not None:
        is_, should_be = ("not null", "nullable") if operation.modify_nullable else ("nullable", "not null")
        yield f"{column} is {is_}, and should be {should_be}"
    if operation.modify_server_default is not False:
        yield f"{column} has a different default than in the metadata"
    if operation.modify_comment is not False:
        yield f"{column} has a different comment than in the metadata"


def _type(type_: TypeEngine[object] | None) -> str:
    return "an unknown type" if type_ is None else str(type_)


def _table(schema_: str | None, name: str) -> str:
    return f"{schema_ or 'public'}.{name}"
