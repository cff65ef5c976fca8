"""Help is fast: a command imports its own modules and libraries only when it runs."""

import subprocess
import sys
from typing import Any

import pytest
import typer.main

from worker.cli.main import app

# Typer and the libraries that it imports to render help and to read arguments. Rich imports attrs if it is installed.
LIGHT = {
    "annotated_doc", "annotated_types", "attr", "attrs", "markdown_it", "mdurl", "pydantic", "pydantic_core", "pygments", "rich",
    "shellingham", "typer", "typing_extensions", "typing_inspection", "worker",
}  # fmt: skip


def command_paths(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every group and command, including the root."""
    within: dict[str, Any] = getattr(command, "commands", {})
    return [path, *(words for name, each in within.items() for words in command_paths(each, (*path, name)))]


def test_help_imports_only_the_library_that_renders_it() -> None:
    every = [list(path) for path in command_paths(typer.main.get_command(app)) if path != ("sandbox",)]
    program = f"""
import contextlib, io, sys
before = set(sys.modules)
from worker.cli.main import app
with contextlib.redirect_stdout(io.StringIO()):
    for words in {every!r}:
        try:
            app([*words, "--help"])
        except SystemExit as end:
            assert end.code == 0, words
known = sys.stdlib_module_names | before
print(*sorted(name for name in sys.modules if name.partition(".")[0] not in known and not name.startswith("_")))
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    imported = done.stdout.split()
    assert len(every) > 25
    assert {name.partition(".")[0] for name in imported} <= LIGHT
    assert [name for name in imported if name.startswith("worker.") and not name.startswith("worker.cli")] == []


@pytest.mark.parametrize("words", [["--help"], ["db", "--help"], ["why", "--help"]])
def test_help_needs_no_settings(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", *words], capture_output=True, text=True, check=False, env={"COLUMNS": "100"}
    )

    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
