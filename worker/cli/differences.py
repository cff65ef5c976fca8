"""Print the differences between two versions of an object."""

from collections.abc import Iterable

import msgspec

from worker.cli.output import say
from worker.mirror.history import Difference

_LONGEST = 80


def say_differences(differences: Iterable[Difference], *, indent: str = "  ") -> None:
    """Print a line for each field: its path, and both values."""
    for each in differences:
        say(f"{indent}{each.path}: {_value(each.before)} -> {_value(each.after)}")


def _value(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
