"""The documents name files and tests that exist, and the generated pages are current."""

import re
from pathlib import Path

import pytest

from tests import http_api_page, lines_page, settings_page, stripe_tables_page

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = r"`((?:worker|schema|migrations|sandbox|tests|benchmarks|docs)/[\w./*-]+)(?:::(\w+))?`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_files_and_tests_that_exist(document: Path) -> None:
    named = set(re.findall(NAMED, document.read_text()))

    missing = {
        f"{path}::{test}" if test else path
        for path, test in named
        if not any(not test or f"def {test}(" in file.read_text() for file in ROOT.glob(path.rstrip("/")))
    }

    assert missing == set()


def test_the_page_of_stripes_objects_is_current() -> None:
    assert stripe_tables_page.PAGE.read_text() == stripe_tables_page.render(), "run python -m tests.stripe_tables_page"


def test_the_table_of_paid_lines_is_current() -> None:
    page = lines_page.PAGE.read_text()
    assert page == lines_page.render(page), "run python -m tests.lines_page"


def test_the_page_of_the_http_api_is_current() -> None:
    assert http_api_page.PAGE.read_text() == http_api_page.render(), "run python -m tests.http_api_page"


def test_the_settings_page_is_current() -> None:
    assert settings_page.PAGE.read_text() == settings_page.render(), "run python -m tests.settings_page"
