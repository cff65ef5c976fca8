"""What the documents name is there: tests, files, settings."""

import re
from pathlib import Path

import pytest

from worker.config.settings import Settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = r"`((?:worker|schema|migrations|sandbox|tests|benchmarks|docs)/[\w./*-]+)(?:::(\w+))?`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_test_that_a_document_names_is_there(document: Path) -> None:
    named = set(re.findall(NAMED, document.read_text()))

    missing = {
        f"{path}::{test}" if test else path
        for path, test in named
        if not any(not test or f"def {test}(" in found.read_text() for found in ROOT.glob(path.rstrip("/")))
    }

    assert missing == set()


def test_the_readme_names_every_setting() -> None:
    table = ROOT.joinpath("README.md").read_text().split("## Settings")[1].split("\n## ")[0]
    # A name that begins with an underscore goes on where the one before it ended: DATABASE_CONNECT_TIMEOUT, _LOCK_TIMEOUT.
    told = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\b[A-Z]{4,}\b", table)) | {
        "DATABASE" + rest for rest in re.findall(r"[ ,](_[A-Z_]+)", table)
    }

    assert {name.upper() for name in Settings.model_fields} - told == set()
