"""The SQL of every revision, up and down, as files that are reviewed with it."""

import io
from pathlib import Path

from alembic.script import Script

import migrations

SQL = Path(__file__).parent / "sql"


def render(revision: Script, *, down: bool = False, versions: Path = migrations.VERSIONS) -> str:
    """The SQL that one revision runs."""
    before = revision.down_revision or "base"
    span = f"{revision.revision}:{before}" if down else f"{before}:{revision.revision}"
    output = io.StringIO()
    migrations.offline_sql(span, down=down, output=output, versions=versions)
    return "\n".join(line.rstrip() for line in output.getvalue().strip().splitlines()) + "\n"


def rendered(versions: Path = migrations.VERSIONS) -> dict[str, str]:
    """The content that the files are to hold, by their names."""
    content: dict[str, str] = {}
    for revision in migrations.revisions(versions):
        name = Path(revision.path).stem
        content[f"{name}.up.sql"] = render(revision, versions=versions)
        content[f"{name}.down.sql"] = render(revision, down=True, versions=versions)
    return content


def write(*, versions: Path = migrations.VERSIONS, sql: Path = SQL) -> list[Path]:
    """Make the files what the revisions render, and remove those of no revision; returns what was changed."""
    sql.mkdir(exist_ok=True)
    wanted, changed = rendered(versions), list[Path]()
    for file in sorted(sql.glob("*.sql")):
        if file.name not in wanted:
            file.unlink()
            changed.append(file)
    for name, statements in wanted.items():
        file = sql / name
        if not file.exists() or file.read_text() != statements:
            file.write_text(statements)
            changed.append(file)
    return changed
