"""Write docs/settings.md from worker/config/settings.py: `python -m tests.settings_page`."""

import ast
import enum
import itertools
from pathlib import Path

from pydantic.fields import FieldInfo

from worker.config.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"
SOURCE = ROOT / "worker" / "config" / "settings.py"

INTRODUCTION = """# Settings

For operators. Every setting is an environment variable, read once when a process starts. A setting that is missing or
wrong stops the process, which lists all problems together. Times are in seconds unless the name says days.

This page is generated from `worker/config/settings.py` by `python -m tests.settings_page`.
"""


def render() -> str:
    """Return the page, made from the settings' docstrings, defaults and section comments."""
    source = SOURCE.read_text()
    body = next(
        each for each in ast.parse(source).body if isinstance(each, ast.ClassDef) and each.name == "Settings"
    ).body
    titles = {
        number: line.partition("# == ")[2] for number, line in enumerate(source.splitlines(), 1) if "    # == " in line
    }
    page = INTRODUCTION
    for statement, following in itertools.pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        for number in [number for number in titles if number < statement.lineno]:
            page += f"\n## {titles.pop(number)}\n\n| name | default | meaning |\n|---|---|---|\n"
        name = statement.target.id
        page += f"| {name.upper()} | {default(Settings.model_fields[name])} | {documentation(name, following)} |\n"
    return page


def documentation(name: str, following: ast.stmt) -> str:
    """The docstring of a setting, in one line."""
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return " ".join(str(following.value.value).split()).replace("|", "\\|")
    raise ValueError(f"{SOURCE.name}: {name} has no docstring; write one below it")


def default(setting: FieldInfo) -> str:
    if setting.is_required():
        return "required"
    value = setting.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, enum.Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(render())
