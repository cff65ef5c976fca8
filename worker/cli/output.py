"""Print tables and sentences for people, JSON for programs, and errors in one line.

Text written by a customer, a user or Stripe passes through `visible` before it reaches a terminal. Markup is not
interpreted, and control characters are printed as escapes.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import typer

# The width of a table if neither COLUMNS nor a terminal gives one.
_WIDTH = 120


def visible(text: str) -> str:
    r"""The text with escapes (\x1b) for characters that control a terminal, or that hide or reorder other characters."""
    return "".join(_escaped(character) for character in text)


def say(text: str) -> None:
    """Print a sentence, or several lines."""
    sys.stdout.write("\n".join(map(visible, text.split("\n"))) + "\n")


def say_json(value: Any) -> None:
    """Print a value as JSON, in which control characters are escaped."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def say_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as a table no wider than the terminal; long cells are folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[column])) for column in columns))
    Console(width=_width()).print(table)


def fail(message: str) -> NoReturn:
    """End the command with exit code 1. The message says what is wrong and how to fix it."""
    sys.stderr.write(f"stripe-sync: {chr(10).join(map(visible, message.split(chr(10))))}\n")
    raise typer.Exit(1)


def _escaped(character: str) -> str:
    # Cc, Cf, Cs, Zl and Zp: control and format characters (bidi marks among them), surrogates, line separators.
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return visible(f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value))


def _width() -> int:
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"])
    for descriptor in (1, 2, 0):
        try:
            return os.get_terminal_size(descriptor).columns
        except OSError:
            continue
    return _WIDTH
