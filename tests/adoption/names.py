"""An application with other names for everything."""

from schema.names import Names, public_tables


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# Prisma's names: tables in the singular and camel case, and columns in camel case.
EVERYTHING_ELSE = Names(
    tables={name: _camel(name)[0].upper() + _camel(name)[1:].removesuffix("s") for name in public_tables()},
    columns={
        name: {column.name: _camel(column.name) for column in table.columns if "_" in column.name}
        | ({"tokens": "the credits"} if name == "users" else {})
        for name, table in public_tables().items()
    },
)
