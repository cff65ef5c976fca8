"""Build the documentation as a site: `python -m tests.site FOLDER`. It needs requirements-ci.txt, but no network.

The site has the pages of docs/ and the other documents, and a page for each table that an application or an operator
reads. A broken link, or a link to a heading that does not exist, fails the build.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from schema.tables import metadata

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "clients/README.md")
# Zensical reads the settings of mkdocs, which are YAML. JSON is valid YAML.
SETTINGS = {
    "site_name": "stripe-sync",
    "docs_dir": "pages",
    "site_dir": "site",
    "use_directory_urls": False,
    "theme": {"font": False, "features": ["navigation.sections", "search.highlight"]},
    "plugins": ["search"],
    "markdown_extensions": ["tables", "fenced_code", {"toc": {"permalink": True}}],
}
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it


def build(target: Path) -> None:
    """Write the site into the folder. If a link is broken, raise CalledProcessError with the broken links in `stdout`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pages = root / "pages"
        shutil.copytree(ROOT / "docs", pages / "docs")
        (pages / "clients").mkdir()
        for name in PAGES:
            shutil.copy(ROOT / name, pages / name)
        (pages / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
        decisions = sorted((pages / "docs" / "decisions").glob("*.md"))
        index = "\n".join(f"- [{_title(page)}]({page.name})" for page in decisions)
        (pages / "docs" / "decisions" / "README.md").write_text(f"# Decisions\n\n{index}\n")
        _write_tables(pages / "tables")
        (root / "mkdocs.yml").write_text(json.dumps(SETTINGS))
        # On GitHub a link to a folder shows the folder's files. A site needs a page there.
        for page in pages.rglob("*.md"):
            page.write_text(page.read_text().replace("](decisions/)", "](decisions/README.md)"))
        program = shutil.which("zensical", path=str(Path(sys.executable).parent))
        if program is None:
            raise FileNotFoundError("zensical is not installed: pip install -r requirements-ci.txt")
        command = [program, "build", "--strict", "--config-file", "mkdocs.yml"]
        subprocess.run(
            command, cwd=root, check=True, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
        shutil.copytree(root / "site", target, dirs_exist_ok=True)


def _title(page: Path) -> str:
    return page.read_text().splitlines()[0].removeprefix("# ")


def _write_tables(folder: Path) -> None:
    folder.mkdir()
    tables = sorted(metadata.tables.values(), key=lambda table: (table.schema or "public", table.name))
    lines = ["# Tables", "", "Generated from `schema/`.", ""]
    for table in tables:
        name = f"{table.schema or 'public'}.{table.name}"
        (folder / f"{name}.md").write_text(_table_page(name, table))
        lines.append(f"- [{name}]({name}.md): {table.comment or ''}")
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def _table_page(name: str, table: Table) -> str:
    lines = [f"# {name}", "", table.comment or "", "", "| column | type | null | meaning |", "|---|---|---|---|"]
    for column in table.columns:
        kind = column.type.compile(_DIALECT).lower()
        mark = ", key" if column.primary_key else ""
        comment = (column.comment or "").replace("|", "\\|")
        lines.append(f"| `{column.name}` | {kind}{mark} | {'yes' if column.nullable else 'no'} | {comment} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        build(Path(sys.argv[1]).resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(error.stdout + error.stderr)
