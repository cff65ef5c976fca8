"""The configuration file that STRIPE_SYNC_CONFIG names: what the application calls the tables and columns that we know.

[membership.tables]
users = "User"

[membership.columns.users]
email_verified = "emailVerified"
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schema.names import Names, public_tables

# What Postgres keeps of an identifier.
_LONGEST_NAME = 63


def read(path: object) -> Names:
    """The names that the file says; raises ValueError naming everything in it that is wrong."""
    if isinstance(path, Names):
        return path
    try:
        said = tomllib.loads(Path(str(path)).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    return names(said, source=str(path))


def names(said: Mapping[str, Any], *, source: str) -> Names:
    """The names in what was read from `source`."""
    membership = said.get("membership", {})
    faults = [f"[{key}] is not known" for key in said if key != "membership"]
    if not isinstance(membership, dict):
        raise ValueError(f"{source}: membership is not a table")
    faults += [f"[membership.{key}] is not known" for key in membership if key not in ("tables", "columns")]
    known = public_tables()
    tables = _called(membership.get("tables", {}), known, "[membership.tables]", faults)
    columns: dict[str, dict[str, str]] = {}
    of = membership.get("columns", {})
    for table in of if isinstance(of, dict) else {}:
        if table not in known:
            faults.append(f"[membership.columns.{table}]: there is no table {table} ({_listed(known)})")
            continue
        there = {column.name for column in known[table].columns}
        columns[table] = _called(of[table], there, f"[membership.columns.{table}]", faults)
    faults += _doubled("[membership.tables]", {table: tables.get(table, table) for table in known})
    if faults:
        raise ValueError(f"{source}: " + "; ".join(faults))
    return Names(tables=tables, columns=columns)


def _called(said: Any, known: Any, where: str, faults: list[str]) -> dict[str, str]:
    if not isinstance(said, dict):
        faults.append(f"{where} is not a table")
        return {}
    for ours, real in said.items():
        if ours not in known:
            faults.append(f"{where} {ours}: we know {_listed(known)}")
        elif not isinstance(real, str) or not real or len(real.encode()) > _LONGEST_NAME:
            faults.append(f"{where} {ours}: is not a name")
        elif "." in real and where == "[membership.tables]":
            faults.append(f"{where} {ours}: {real} names a schema; the tables are looked for in public")
    faults += _doubled(where, {ours: real for ours, real in said.items() if isinstance(real, str)})
    return {ours: real for ours, real in said.items() if isinstance(real, str)}


def _doubled(where: str, called: Mapping[str, str]) -> list[str]:
    """Two of ours can't be the same one of the application's."""
    first: dict[str, str] = {}
    return [
        f"{where} {ours} and {first[real]} are both {real}"
        for ours, real in called.items()
        if first.setdefault(real, ours) != ours
    ]


def _listed(known: Any) -> str:
    return ", ".join(sorted(known))
