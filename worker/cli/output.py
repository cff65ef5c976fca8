"""How commands speak: tables and sentences for people, JSON for programs, errors in one line."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["fail", "say", "say_json", "say_table"]

# A pipe has no width of its own: a table there is as wide as it wants to be.
_console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 240)
_errors = Console(stderr=True, soft_wrap=True, highlight=False)


def say(sentence: str) -> None:
    _console.print(sentence, highlight=False, markup=False)


def say_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def say_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    _console.print(table)


def fail(message: str) -> NoReturn:
    """End the command: what is wrong and what mends it, and exit code 1."""
    _errors.print(f"stripe-sync: {message}", markup=False)
    raise typer.Exit(1)
