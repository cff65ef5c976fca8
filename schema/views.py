"""The schema `stripe`: one view over each table of the mirror, for the application and for people.

The daemon itself reads and writes `mirror.*`. Views have their owner's rights, so a reader needs none on `mirror`.
"""

from sqlalchemy import Table

from schema import mirror

SCHEMA = "stripe"
# Object types without a table of their own: the view's name tells more than the table's.
_NAMES = {"objects": "other_objects"}


def view(table: Table) -> str:
    """Return the query of a view: every column of the table, in its order."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f"select {columns} from {mirror.SCHEMA}.{table.name}"  # noqa: S608 - names from the schema


VIEWS: dict[str, str] = {_NAMES.get(name, name): view(table) for name, table in mirror.tables.items()}
