"""The WAL archive: the shell commands for a segment, and the server's settings."""

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from worker.backup import archiving
from worker.backup.folder import BackupError

SEGMENT = "000000010000000000000002"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "an archive of 100%"
    folder.mkdir()
    return folder


@pytest.fixture
def pg_wal(tmp_path: Path) -> Path:
    (tmp_path / SEGMENT).write_bytes(b"wal" * 1000)
    return tmp_path


def run(command: str, folder: Path, name: str = SEGMENT, path: str | None = None) -> int:
    """Run the command as PostgreSQL does: replace %f, %p and %%, and let sh run it in the server's folder."""
    words = command.replace("%%", "\0").replace("%f", name).replace("%p", path or name).replace("\0", "%")
    return subprocess.run(["sh", "-c", words], cwd=folder, check=False, capture_output=True).returncode


def test_a_segment_is_archived_and_restored(archive: Path, pg_wal: Path) -> None:
    assert run(archiving.archive_command(archive), pg_wal) == 0
    assert [(path.name, path.stat().st_mode & 0o777) for path in archive.iterdir()] == [(f"{SEGMENT}.gz", 0o600)]

    assert run(archiving.restore_command(archive), pg_wal, path="RECOVERYXLOG") == 0
    assert (pg_wal / "RECOVERYXLOG").read_bytes() == b"wal" * 1000


def test_archiving_a_segment_twice_is_accepted_but_other_content_under_its_name_is_refused(
    archive: Path, pg_wal: Path
) -> None:
    run(archiving.archive_command(archive), pg_wal)
    assert run(archiving.archive_command(archive), pg_wal) == 0

    (pg_wal / SEGMENT).write_bytes(b"other")

    assert run(archiving.archive_command(archive), pg_wal) != 0
    with gzip.open(archive / f"{SEGMENT}.gz") as file:
        assert file.read() == b"wal" * 1000


def test_a_segment_half_archived_in_a_crash_is_archived_again(archive: Path, pg_wal: Path) -> None:
    (archive / f"{SEGMENT}.part").write_bytes(b"half")
    assert run(archiving.restore_command(archive), pg_wal, path="RECOVERYXLOG") != 0

    assert run(archiving.archive_command(archive), pg_wal) == 0

    assert [path.name for path in archive.iterdir()] == [f"{SEGMENT}.gz"]


def test_a_damaged_copy_is_neither_accepted_nor_overwritten(archive: Path, pg_wal: Path) -> None:
    (archive / f"{SEGMENT}.gz").write_bytes(b"half")

    assert run(archiving.archive_command(archive), pg_wal) != 0
    assert run(archiving.restore_command(archive), pg_wal, path="RECOVERYXLOG") != 0


def test_a_missing_archive_is_an_error(archive: Path, pg_wal: Path) -> None:
    archive.rmdir()

    assert run(archiving.archive_command(archive), pg_wal) != 0


@pytest.fixture
def ordinary(conn: psycopg.Connection, database: str) -> Iterator[psycopg.Connection]:
    """A connection of a role without rights."""
    conn.execute("create role ordinary login")
    with psycopg.connect(database, user="ordinary", autocommit=True) as connection:
        yield connection
    conn.execute("drop role ordinary")


def test_missing_settings_are_listed_line_by_line(conn: psycopg.Connection, archive: Path) -> None:
    lines = archiving.lacking(conn, archive)

    assert [line.split(" ")[0] for line in lines] == ["archive_mode", "archive_command", "archive_timeout"]
    assert "restart PostgreSQL" in lines[0]


def test_a_role_that_may_not_set_up_archiving_is_shown_the_settings_to_write(
    ordinary: psycopg.Connection, archive: Path
) -> None:
    with pytest.raises(BackupError, match=r"the role ordinary may not .*(?s:.)*archive_mode = on"):
        archiving.set_up(ordinary, archive)
