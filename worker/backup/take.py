"""Take backups, and remove backups that the retention policy no longer keeps."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from worker.backup import archiving, folder, tools, wal
from worker.backup.folder import Backup, BackupError, Manifest, Physical
from worker.backup.policy import Keep, Kind, Name, kept
from worker.backup.wal import Span
from worker.config.settings import Settings
from worker.observe import log
from worker.postgres import inventory
from worker.postgres.pool import connection_arguments

_log = log.get("backup")

DUMP, DATA = "database.dump", "data"
_LOCK_WAIT = "60s"


def connect(settings: Settings) -> psycopg.Connection:
    """Connect to the database to back up."""
    return psycopg.connect(tools.url(settings), autocommit=True, **connection_arguments(settings, application="backup"))


def logical(settings: Settings, *, alive: Callable[[], None] = lambda: None) -> Backup:
    """Dump the whole database, including the application's tables, from one snapshot."""
    root = folder.folder(settings)
    with contextlib.closing(connect(settings)) as conn:
        program = tools.find(settings, "pg_dump", at_least=tools.major_of(conn))
        version, revision, database = _server_version(conn), inventory.revision(conn), conn.info.dbname
    name, began = Name(folder.now(), settings.app_env.value, Kind.LOGICAL), time.monotonic()
    with folder.making(root, name) as path:
        command = [str(program), "--format=custom", f"--file={path / DUMP}", f"--lock-wait-timeout={_LOCK_WAIT}"]
        tools.run(command, tools.environment(settings), alive=alive)
        manifest = Manifest(
            database=database,
            server_version=version,
            revision=revision,
            seconds=round(time.monotonic() - began, 1),
            files=(folder.sum_of(path, path / DUMP, alive=alive),),
        )
        folder.write_manifest(path, manifest)
    return _made(Backup(name, root / str(name), manifest))


def physical(settings: Settings, *, alive: Callable[[], None] = lambda: None) -> Backup:
    """Copy the server's files. Raises BackupError if the WAL up to the end of the copy is not archived."""
    root, archive = folder.folder(settings), folder.wal_folder(settings)
    with contextlib.closing(connect(settings)) as conn:
        major = tools.major_of(conn)
        program = tools.find(settings, "pg_basebackup", at_least=major)
        _check(conn, archive)
        version, revision, database = _server_version(conn), inventory.revision(conn), conn.info.dbname
        name, began = Name(folder.now(), settings.app_env.value, Kind.PHYSICAL), time.monotonic()
        with folder.making(root, name) as path:
            command = [
                str(program), f"--pgdata={path / DATA}", "--format=plain", "--wal-method=stream", "--checkpoint=fast",
                "--manifest-checksums=SHA256", "--no-password", f"--label={name}",
            ]  # fmt: skip
            tools.run(command, tools.environment(settings), alive=alive)
            settled = _settled(conn, path / DATA)
            last = wal.segment(settled.span.timeline, settled.span.stop - 1, settled.segment_bytes)
            # Ending the backup also completes its WAL segment.
            archiving.await_archived(conn, archive, last, alive=alive)
            manifest = Manifest(
                database=database,
                server_version=version,
                revision=revision,
                seconds=round(time.monotonic() - began, 1),
                files=(folder.sum_of(path, path / DATA / "backup_manifest", alive=alive),),
                physical=settled,
            )
            folder.write_manifest(path, manifest)
    return _made(Backup(name, root / str(name), manifest))


def _check(conn: psycopg.Connection, archive: Path) -> None:
    lines = archiving.lacking(conn, archive)
    if lines:
        raise BackupError(
            "WAL is not archived, so a physical backup could not be restored to a point in time. Run `stripe-sync db backup "
            "--physical --setup-archiving`, or write into postgresql.conf:\n  " + "\n  ".join(lines)
        )
    spaces = conn.execute("select spcname from pg_tablespace where spcname !~ '^pg_'").fetchall()
    if spaces:
        named = ", ".join(name for (name,) in spaces)
        raise BackupError(f"the server has tablespaces ({named}), which stripe-sync can't back up: use pgBackRest")


def _settled(conn: psycopg.Connection, data: Path) -> Physical:
    """The description of a copy, read from its manifest and the server."""
    written: dict[str, Any] = json.loads((data / "backup_manifest").read_bytes())
    ranges = written["WAL-Ranges"]
    row = conn.execute(
        """
        select clock_timestamp(), (select setting::bigint from pg_settings where name = 'wal_segment_size'),
            (select coalesce(max(setting), '') from pg_settings where name = 'config_file')
        """
    ).fetchone()
    assert row is not None
    span = Span(
        timeline=ranges[-1]["Timeline"],
        start=wal.position(ranges[0]["Start-LSN"]),
        stop=wal.position(ranges[-1]["End-LSN"]),
    )
    return Physical(finished_at=row[0], span=span, segment_bytes=row[1], config_file=row[2])


def _made(backup: Backup) -> Backup:
    _log.info("backup.made", name=str(backup.name), bytes=backup.size, seconds=backup.manifest.seconds)
    return backup


def _server_version(conn: psycopg.Connection) -> str:
    return conn.info.parameter_status("server_version") or ""


@dataclass(frozen=True, slots=True)
class Removed:
    """The removed backups, and the number of removed WAL files."""

    backups: tuple[Name, ...] = ()
    wal: int = 0


def thin_out(settings: Settings) -> Removed:
    """Remove the backups that the retention policy no longer keeps, and the WAL that no base backup needs.

    If the newest backup of a kind is damaged, no backup of that kind is removed: an older one may be the last good one.
    """
    keep = Keep(settings.backup_keep_daily, settings.backup_keep_weekly, settings.backup_keep_monthly)
    held = [one for one in folder.list_backups(folder.folder(settings)) if one.name.environment == settings.app_env]
    stay = kept([one.name for one in held], keep, now=folder.now())
    gone: list[Name] = []
    for kind in Kind:
        ours = [one for one in held if one.name.kind is kind]
        if not ours or not any(one.name not in stay for one in ours):
            continue
        if faults := folder.faults(ours[0]):
            _log.error("backup.damaged", name=str(ours[0].name), faults=faults, fix="nothing was removed; take another")
            continue
        for one in ours:
            if one.name not in stay:
                _remove(one)
                gone.append(one.name)
    left = [one for one in held if one.name.kind is Kind.PHYSICAL and one.name not in gone]
    removed = Removed(tuple(gone), _thin_out_wal(folder.wal_folder(settings), left))
    if removed != Removed():
        _log.info("backups.removed", backups=[str(name) for name in gone], wal=removed.wal)
    return removed


def _remove(backup: Backup) -> None:
    """Remove the backup. It is renamed first, so that a partly removed backup is not listed as complete."""
    going = backup.path.with_name(f".removing-{backup.path.name}")
    backup.path.rename(going)
    shutil.rmtree(going)


def _thin_out_wal(archive: Path, bases: list[Backup]) -> int:
    starts = [
        wal.segment(
            base.manifest.physical.span.timeline,
            base.manifest.physical.span.start,
            base.manifest.physical.segment_bytes,
        )
        for base in bases
        if base.manifest.physical is not None
    ]
    if not starts or not archive.is_dir():
        return 0
    names = [path.name for path in archive.iterdir()]
    gone = wal.obsolete(names, oldest=min(starts, key=lambda name: name[8:]))
    for name in gone:
        (archive / name).unlink(missing_ok=True)
    return len(gone)
