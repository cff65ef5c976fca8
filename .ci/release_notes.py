"""Print the notes of a release, its section of CHANGELOG.md: `python .ci/release_notes.py 0.1.0`."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes(changelog: str, version: str) -> str:
    """The section of this version, without its heading. Links lead to the files of the version's tag.

    Raises ValueError if there is none, or if its heading says that it is not released.
    """
    found = re.search(
        rf"^## {re.escape(version)}(?: \(([^)]*)\))?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"CHANGELOG.md has no section {version}")
    date, text = found.groups()
    if date is None or not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise ValueError(f"CHANGELOG.md: write the date of the release: `## {version} (YYYY-MM-DD)`")
    return re.sub(r"\]\((docs/[^)]+)\)", rf"](../../blob/v{version}/\1)", text).strip() + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(CHANGELOG.read_text(), sys.argv[1]))
    except (ValueError, IndexError) as error:
        sys.exit(f"release_notes: {error}")
