"""The server's WAL archive: write its settings, check that they are active, and test that archiving works.

PostgreSQL runs a shell command for each segment. The commands need only gzip and standard tools on the server.
"""

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, scalar_row

from worker.backup.folder import BackupError

# A quiet database archives its last changes after this long, so a lost disk loses no more than this.
ARCHIVE_SECONDS = 60
_WAIT_SECONDS = 120
_RELOAD_SECONDS = 10


def archive_command(folder: Path) -> str:
    """The shell command that archives a segment.

    It writes the file under another name, flushes it and renames it, so no reader finds an incomplete segment. If the segment
    already exists, the command succeeds if the content is the same, and fails otherwise. Two servers therefore never
    overwrite each other's files. Segments that a time-out closed are mostly empty, and compress to almost nothing.
    """
    return (
        f"umask 077; d={_quoted(folder)}; "
        'if [ -f "$d/%f.gz" ]; then gzip -dc "$d/%f.gz" | cmp -s - "%p"; '
        'else gzip -1 -c "%p" > "$d/%f.part" && sync "$d/%f.part" && mv "$d/%f.part" "$d/%f.gz" && sync "$d"; fi'
    )


def restore_command(folder: Path) -> str:
    """The shell command that restores a segment.

    It fails if the segment is missing. Recovery then knows that the archive has ended.
    """
    return f'd={_quoted(folder)}; [ -f "$d/%f.gz" ] && gzip -dc "$d/%f.gz" > "%p"'


def _quoted(folder: Path) -> str:
    if "\n" in str(folder):
        raise BackupError(
            f"{str(folder)!r} can't be used in a setting: choose a folder without a line break in its name"
        )
    return shlex.quote(str(folder)).replace("%", "%%")


def _wanted(folder: Path) -> dict[str, str]:
    return {
        "archive_mode": "on",
        "archive_command": archive_command(folder),
        "archive_timeout": str(ARCHIVE_SECONDS),
    }


def lacking(conn: psycopg.Connection, folder: Path) -> list[str]:
    """The settings that a physical backup needs and the server lacks, as lines for postgresql.conf."""
    held = _settings(conn)
    lines: list[str] = []
    if held["wal_level"]["setting"] == "minimal":
        lines.append("wal_level = replica            # restart PostgreSQL")
    if int(held["max_wal_senders"]["setting"]) < 2:
        lines.append("max_wal_senders = 10           # restart PostgreSQL")
    if held["archive_mode"]["setting"] == "off":
        lines.append("archive_mode = on              # restart PostgreSQL")
    # While archive_mode is off, the server does not show its archive_command.
    if _command(conn) in ("", "(disabled)") and not held["archive_library"]["setting"]:
        lines.append(f"archive_command = {_literal(archive_command(folder))}")
        lines.append(f"archive_timeout = {ARCHIVE_SECONDS}           # seconds: the most that a lost disk loses")
    return lines


def set_up(conn: psycopg.Connection, folder: Path) -> bool:
    """Configure the server to archive its WAL into the folder. Returns whether the server must be restarted.

    Raises BackupError if another archive_command is active, if the role lacks the right, or if the server can't write to the
    folder.
    """
    wanted, command = _wanted(folder), _command(conn)
    if command not in ("", "(disabled)", wanted["archive_command"]):
        raise BackupError(
            f"archive_command is already set ({command}): another tool archives this server. Restore with that tool, "
            "or reset the setting (alter system reset archive_command) and try again"
        )
    _give_to_the_server(conn, folder)
    try:
        for name, value in wanted.items():
            conn.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        conn.execute("select pg_reload_conf()")
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(
            f"the role {conn.info.user} may not set up archiving ({str(error).splitlines()[0]}): do it as a superuser "
            "(BACKUP_DATABASE_URL), or write into postgresql.conf:\n" + "\n".join(lacking(conn, folder))
        ) from error
    if _settings(conn)["archive_mode"]["setting"] == "off":
        return True
    deadline = time.monotonic() + _RELOAD_SECONDS
    while _command(conn) != wanted["archive_command"]:
        if time.monotonic() > deadline:
            raise BackupError(
                f"archive_command stays {_command(conn)!r}: it is set in the command that starts the server; change it there"
            )
        time.sleep(0.05)
    return False


def _give_to_the_server(conn: psycopg.Connection, folder: Path) -> None:
    """Create the folder, and check that the server's account can write to it, by running a command on the server."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupError(f"{folder} can't be created ({error.strerror}): see BACKUP_WAL_DIR, BACKUP_DIR") from error
    owner = _owner_of_data(conn)
    if os.geteuid() == 0 and owner is not None:
        os.chown(folder, *owner)
    probe = f'd={_quoted(folder)}; : > "$d/.probe" && rm "$d/.probe"'.replace("%%", "%")
    try:
        conn.execute(sql.SQL("copy (select 1) to program {}").format(sql.Literal(probe)))
    except psycopg.errors.InsufficientPrivilege:
        return  # set_up reports the problem
    except psycopg.Error as error:
        raise BackupError(
            f"PostgreSQL's account can't write to {folder}, which its archive_command must do: make it the owner of the folder, "
            f"with access to the folders above (or set BACKUP_WAL_DIR to another folder). {str(error).splitlines()[0]}"
        ) from error


def _owner_of_data(conn: psycopg.Connection) -> tuple[int, int] | None:
    """The user and group that own the server's files; None if the files are on another machine, or can't be read."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        data = cursor.execute("select setting from pg_settings where name = 'data_directory'").fetchone()
    try:
        held = Path(data or "/nowhere").stat()
    except OSError:
        return None
    return held.st_uid, held.st_gid


def await_archived(
    conn: psycopg.Connection, folder: Path, segment: str, *, alive: Callable[[], None] = lambda: None
) -> None:
    """Wait until the segment is in the archive. If it does not arrive, raise a BackupError with the reason."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        failed_before = cursor.execute("select failed_count from pg_stat_archiver").fetchone()
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (folder / f"{segment}.gz").exists():
        with conn.cursor(row_factory=dict_row) as rows:
            state = rows.execute("select * from pg_stat_archiver").fetchone() or {}
        if (state.get("failed_count") or 0) > (failed_before or 0):
            raise BackupError(f"archive_command fails ({state['last_failed_wal']}): see the server's log, and {folder}")
        if (state.get("last_archived_wal") or "") >= segment or time.monotonic() > deadline:
            raise BackupError(
                f"{segment} did not arrive in {folder}: WAL is archived elsewhere, or not at all "
                f"(archive_command = {_command(conn)}). Without its WAL, a base backup can't be restored"
            )
        alive()
        time.sleep(0.1)


def _settings(conn: psycopg.Connection) -> dict[str, dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select name, setting from pg_settings
            where name in ('wal_level', 'max_wal_senders', 'archive_mode', 'archive_library')
            """
        ).fetchall()
    return {row["name"]: row for row in rows}


def _command(conn: psycopg.Connection) -> str:
    """The configured archive_command. While archive_mode is off, the server shows `(disabled)`, so read it from the files."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        shown = cursor.execute("select setting from pg_settings where name = 'archive_command'").fetchone() or ""
        if shown != "(disabled)":
            return str(shown)
        try:
            written = cursor.execute(
                "select setting from pg_file_settings where name = 'archive_command' order by seqno desc limit 1"
            ).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return str(shown)
    return str(written or "")


def _literal(value: str) -> str:
    """Quote the value for postgresql.conf."""
    return "'" + value.replace("'", "''") + "'"
