"""Rebuild a server's data folder as of a point in time, from the newest base backup before that time and archived WAL."""

import gzip
import os
import pwd
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from worker.backup import archiving, check, folder, tools, wal
from worker.backup.folder import Backup, BackupError
from worker.backup.policy import Kind
from worker.backup.take import DATA
from worker.config.settings import Settings

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Recovery:
    """A new data folder, and the command that starts a server on it. The server recovers when it starts."""

    data: Path
    command: str
    notes: tuple[str, ...]


def read_time(text: str) -> datetime | None:
    """Parse the point in time; None for `latest`, the end of the archive. Raises BackupError for any other text."""
    if text == LATEST:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BackupError(
            f"--at {text!r} is not a point in time: write it with an offset, such as 2026-11-23T14:05:00+00:00 or "
            f"2026-11-23T14:05:00Z, or `{LATEST}`"
        )
    return moment.astimezone(UTC)


def choose(settings: Settings, at: datetime | None, *, more_wal: bool = False) -> Backup:
    """Choose the newest base backup that finished before the time and whose WAL leads to the newest timeline.

    Raises BackupError if there is none, or if the archive ends before the time and `more_wal` is false.
    """
    archive = folder.wal_folder(settings)
    names = [path.name for path in archive.iterdir()] if archive.is_dir() else []
    bases = [
        backup
        for backup in folder.list_backups(folder.folder(settings))
        if backup.name.environment == settings.app_env and backup.name.kind is Kind.PHYSICAL
    ]
    if not bases:
        raise BackupError(
            f"there is no physical backup of {settings.app_env} in {folder.folder(settings)} (APP_ENV, BACKUP_DIR): "
            "`stripe-sync db restore` without --at restores a dump"
        )
    last = max(wal.timelines(names), default=1)
    forked = wal.read_history(_history(archive, last)) if last > 1 else {}
    fitting = [
        one for one in bases if one.manifest.physical and wal.is_ancestor(one.manifest.physical.span, last, forked)
    ]
    reached = [one for one in fitting if at is None or _finished(one) <= at]
    if not reached:
        raise BackupError(
            f"no physical backup had finished by {at}; the oldest usable one finished at {_finished(fitting[-1])}"
            if fitting
            else f"no physical backup leads to timeline {last}, which the server is on: take one"
        )
    archived = max((path.stat().st_mtime for path in archive.glob("*.gz")), default=0.0)
    if at is not None and archived < at.timestamp() and not more_wal:
        raise BackupError(
            f"WAL is archived only until {datetime.fromtimestamp(archived, UTC).isoformat()}, not until {at.isoformat()}: "
            f"name an earlier time, or `--at {LATEST}`. If the old server's data still exists, --wal-from adds its last "
            "minute"
        )
    return reached[0]


def _finished(backup: Backup) -> datetime:
    assert backup.manifest.physical is not None
    return backup.manifest.physical.finished_at


def _history(archive: Path, timeline: int) -> str:
    try:
        with gzip.open(archive / f"{timeline:08X}.history.gz", "rt") as file:
            return file.read()
    except OSError as error:
        raise BackupError(
            f"{archive} can't be read ({error.strerror or error}): run this as root, or as PostgreSQL's account"
        ) from error


def prepare(
    settings: Settings,
    backup: Backup,
    at: datetime | None,
    target: Path,
    *,
    owner: str | None = None,
    wal_from: Path | None = None,
    alive: Callable[[], None] = lambda: None,
) -> Recovery:
    """Fill `target` with the base backup. A server started on it recovers to the time `at`, and then accepts writes.

    This starts no server. `wal_from` is the data folder of a dead server, to read the WAL that it had not archived. Raises
    BackupError if `target` is not empty, if the backup is damaged, or if the owner is unknown.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is not empty: name a new folder with --to; existing data is not changed")
    account = _account(owner)
    checked = check.check(settings, backup)
    if checked.reaches is None:
        raise BackupError(f"{backup.name} can't be used: {'; '.join(checked.faults)}")

    def copy(source: str, target: str) -> str:
        alive()
        return shutil.copy2(source, target)

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        copying = Path(tempfile.mkdtemp(prefix=f".{target.name}.making-", dir=target.parent))
    except OSError as error:
        raise BackupError(f"{target} can't be created ({error.strerror}): name another folder with --to") from error
    try:
        shutil.copytree(backup.path / DATA, copying, symlinks=True, copy_function=copy, dirs_exist_ok=True)
        if wal_from is not None:
            _salvage(wal_from, copying)
        _set_up(copying, archiving.restore_command(folder.wal_folder(settings)), at)
        _give(copying, account)
        copying.rename(target)
    except OSError as error:
        raise BackupError(f"{target} could not be created: {error}") from error
    finally:
        shutil.rmtree(copying, ignore_errors=True)
    return Recovery(target, *_how_to_start(settings, backup, target, account))


def _salvage(old: Path, data: Path) -> None:
    """Copy the dead server's WAL into the new folder, where recovery reads it after the end of the archive.

    Raises BackupError if there is no WAL, or if the server is running.
    """
    segments = [path for path in (old / "pg_wal").glob("*") if wal.is_segment(path.name)]
    if not segments:
        raise BackupError(f"--wal-from: there is no WAL in {old / 'pg_wal'}: name the old server's data folder")
    if (old / "postmaster.pid").exists() and _is_alive(old / "postmaster.pid"):
        raise BackupError(f"--wal-from: a server runs on {old}: stop it first")
    for path in segments:
        shutil.copy2(path, data / "pg_wal" / path.name)


def _is_alive(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text().split()[0]), 0)
    except (OSError, ValueError, IndexError) as error:
        return isinstance(error, PermissionError)
    return True


def _set_up(data: Path, restore_command: str, at: datetime | None) -> None:
    """Write the recovery settings to the end of postgresql.auto.conf, where they override others, and recovery.signal.

    The new server archives nothing until an operator enables it. Otherwise a rehearsal beside the production server would
    write its own timeline into the production archive.
    """
    quoted = restore_command.replace("'", "''")
    lines = [
        "",
        "# stripe-sync db restore --at",
        f"restore_command = '{quoted}'",
        "recovery_target_timeline = 'latest'",
        "archive_command = ''",
    ]
    if at is not None:
        lines += [
            f"recovery_target_time = '{at.strftime('%Y-%m-%d %H:%M:%S.%f+00')}'",
            "recovery_target_action = 'promote'",
        ]
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write("\n".join(lines) + "\n")
    (data / "recovery.signal").touch()
    data.chmod(0o700)


def _account(owner: str | None) -> pwd.struct_passwd | None:
    """The account that will own the folder; None for our own. PostgreSQL must run as the owner, and never runs as root."""
    if owner is None:
        if os.geteuid() == 0:
            raise BackupError("PostgreSQL does not run as root: name the account that will own the folder with --owner")
        return None
    try:
        return pwd.getpwnam(owner)
    except KeyError:
        raise BackupError(f"--owner: there is no account {owner} here") from None


def _give(data: Path, account: pwd.struct_passwd | None) -> None:
    if account is None:
        return
    for path in (data, *data.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _how_to_start(
    settings: Settings, backup: Backup, data: Path, account: pwd.struct_passwd | None
) -> tuple[str, tuple[str, ...]]:
    major, notes = check.major(backup), list[str]()
    try:
        program = str(tools.find(settings, "pg_ctl", at_least=major, exactly=True))
    except tools.ToolMissing:
        program = "pg_ctl"
        notes.append(f"PostgreSQL {major} is not on PATH here: run this command where it is installed")
    words = f"{program} -D {data} -l {data}/recovery.log -w start"
    assert backup.manifest.physical is not None
    if not (data / "postgresql.conf").exists():
        config = backup.manifest.physical.config_file
        words += f" -o '-c config_file={config}'"
        notes.append(f"the server's configuration is not part of the backup: it was in {config}")
    if account is not None:
        words = f"su {account.pw_name} -s /bin/sh -c {shlex.quote(words)}"
    return words, tuple(notes)
