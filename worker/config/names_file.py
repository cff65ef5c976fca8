"""Read the file of STRIPE_SYNC_CONFIG, which has the application's names for our tables and columns. An example:

[membership.tables]
users = "User"

[membership.columns.users]
email_verified = "emailVerified"
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from schema.names import Names, public_tables

# Postgres truncates identifiers after this many bytes.
_LONGEST_NAME = 63


def read(path: object) -> Names:
    """The names in the file. Raises a ValueError that lists all errors in the file."""
    if isinstance(path, Names):
        return path
    try:
        content = tomllib.loads(Path(str(path)).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    return names(content, source=str(path))


def names(content: Mapping[str, Any], *, source: str) -> Names:
    """The names in the parsed file; `source` is its path, for errors."""
    membership = content.get("membership", {})
    faults = [f"[{key}] is not known" for key in content if key != "membership"]
    if not isinstance(membership, dict):
        raise ValueError(f"{source}: membership is not a table")
    faults += [f"[membership.{key}] is not known" for key in membership if key not in ("tables", "columns")]
    known = public_tables()
    tables = _mapping(membership.get("tables", {}), known, "[membership.tables]", faults)
    columns: dict[str, dict[str, str]] = {}
    sections = membership.get("columns", {})
    for table in sections if isinstance(sections, dict) else {}:
        if table not in known:
            faults.append(f"[membership.columns.{table}]: there is no table {table} ({_listed(known)})")
            continue
        ours = {column.name for column in known[table].columns}
        columns[table] = _mapping(sections[table], ours, f"[membership.columns.{table}]", faults)
    faults += _shared_names("[membership.tables]", {table: tables.get(table, table) for table in known})
    if faults:
        raise ValueError(f"{source}: " + "; ".join(faults))
    return Names(tables=tables, columns=columns)


def _mapping(section: Any, known: Collection[str], where: str, faults: list[str]) -> dict[str, str]:
    """The valid entries of a section, from our name to the application's name. Errors are added to `faults`."""
    if not isinstance(section, dict):
        faults.append(f"{where} is not a table")
        return {}
    for ours, theirs in section.items():
        if ours not in known:
            faults.append(f"{where} {ours}: unknown name; the names are {_listed(known)}")
        elif not isinstance(theirs, str) or not theirs or len(theirs.encode()) > _LONGEST_NAME:
            faults.append(f"{where} {ours}: the value is not a name")
        elif theirs.count(".") > 1 and where == "[membership.tables]":
            faults.append(f"{where} {ours}: {theirs} is neither a table of public nor a schema and a table")
    mapping = {ours: theirs for ours, theirs in section.items() if isinstance(theirs, str)}
    faults += _shared_names(where, mapping)
    return mapping


def _shared_names(where: str, mapping: Mapping[str, str]) -> list[str]:
    """An error for each of our names that is mapped to the same name as an earlier one."""
    first: dict[str, str] = {}
    return [
        f"{where} {ours} and {first[theirs]} are both {theirs}"
        for ours, theirs in mapping.items()
        if first.setdefault(theirs, ours) != ours
    ]


def _listed(known: Collection[str]) -> str:
    return ", ".join(sorted(known))
