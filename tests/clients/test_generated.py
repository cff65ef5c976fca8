"""The generated parts of the clients are current."""

import pytest

from clients import generate


@pytest.mark.parametrize("name", generate.files())
def test_a_generated_file_is_current(name: str) -> None:
    # Not equal? `python -m clients.generate` writes them again.
    assert (generate.HERE / name).read_text() == generate.files()[name]
