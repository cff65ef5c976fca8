"""The documentation builds as a site without broken links."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import site


def test_the_site_builds_and_no_link_is_wrong(tmp_path: Path) -> None:
    if shutil.which("zensical", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("zensical is not installed; .ci/run installs it")

    try:
        site.build(tmp_path / "site")
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stdout + error.stderr)

    for page in (
        "index.html",
        "docs/settings.html",
        "docs/runbooks.html",
        "docs/http-api.html",
        "tables/sync.events.html",
    ):
        assert (tmp_path / "site" / page).is_file()
    text = (tmp_path / "site" / "docs" / "index.html").read_text()
    assert not [word for word in ("googleapis", "gstatic", "unpkg", "jsdelivr") if word in text]
