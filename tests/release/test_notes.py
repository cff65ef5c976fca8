"""The notes of a release are its section of the changelog."""

import runpy
from pathlib import Path

import pytest

NOTES = runpy.run_path(str(Path(__file__).parents[2] / ".ci" / "release_notes.py"))["notes"]
CHANGELOG = """# Changelog

## 0.2.0 (unreleased)

### Added
- Much.

## 0.1.1 (2026-12-01)

### Fixed
- A fault ([why](docs/membership.md#links)).

## 0.1.0 (2026-11-30)

- All.
"""


def test_the_notes_are_the_section_of_the_version() -> None:
    assert NOTES(CHANGELOG, "0.1.1") == "### Fixed\n- A fault ([why](../../blob/v0.1.1/docs/membership.md#links)).\n"
    assert NOTES(CHANGELOG, "0.1.0") == "- All.\n"


@pytest.mark.parametrize(
    ("version", "problem"), [("0.2.0", "write the date"), ("0.1", "no section"), ("0.3.0", "no section")]
)
def test_an_unreleased_version_has_no_notes(version: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        NOTES(CHANGELOG, version)
