"""BACKUP_DIR has one folder per backup, with a manifest of checksums. A folder gets its final name when the backup is complete.

BACKUP_DIR/production-20261123T030000Z-logical/    manifest.json, database.dump
BACKUP_DIR/production-20261123T040000Z-physical/   manifest.json, data/ (with PostgreSQL's own backup_manifest)
BACKUP_DIR/production-wal/                         archived WAL (BACKUP_WAL_DIR)
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from worker.backup.policy import Name
from worker.backup.wal import Span
from worker.config.errors import Permanent
from worker.config.settings import Settings

MANIFEST = "manifest.json"
_MAKING = ".making-"
_CHUNK = 1 << 20


class BackupError(Permanent):
    """A backup can't be taken or restored."""


class File(msgspec.Struct, frozen=True):
    """A file of a backup, by its path in the backup's folder."""

    path: str
    bytes: int
    sha256: str


class Physical(msgspec.Struct, frozen=True):
    """The data that recovery from a physical backup needs.

    `finished_at`, by the server's clock, is the earliest point in time that can be restored.
    """

    finished_at: datetime
    span: Span
    segment_bytes: int
    config_file: str


class Manifest(msgspec.Struct, frozen=True):
    """The description of a backup, except for its name."""

    database: str
    server_version: str
    revision: str | None
    seconds: float
    files: tuple[File, ...]
    physical: Physical | None = None


class Backup(msgspec.Struct, frozen=True):
    """A backup that is complete according to the name and the manifest of its folder."""

    name: Name
    path: Path
    manifest: Manifest

    @property
    def size(self) -> int:
        """The size in bytes on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file() and not file.is_symlink())


def folder(settings: Settings) -> Path:
    """BACKUP_DIR; raises BackupError if it is not set."""
    if settings.backup_dir is None:
        raise BackupError("BACKUP_DIR is not set: set it to the folder for backups")
    return settings.backup_dir.absolute()


def wal_folder(settings: Settings) -> Path:
    """The folder of the server's archived WAL: BACKUP_WAL_DIR, else a folder named after the environment in BACKUP_DIR."""
    if settings.backup_wal_dir is not None:
        return settings.backup_wal_dir.absolute()
    return folder(settings) / f"{settings.app_env}-wal"


def list_backups(place: Path) -> list[Backup]:
    """The complete backups in a folder, newest first. Other files and folders are ignored."""
    backups: list[Backup] = []
    with contextlib.suppress(FileNotFoundError):
        for path in place.iterdir():
            name = Name.read(path.name)
            if name is None:
                continue
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
                backups.append(Backup(name, path, manifest))
    return sorted(backups, key=lambda backup: backup.name, reverse=True)


@contextlib.contextmanager
def making(place: Path, name: Name) -> Iterator[Path]:
    """Yield a folder for a new backup.

    It gets its final name when the block ends, and is removed if the block fails.
    """
    target, path = place / str(name), place / f"{_MAKING}{name}"
    if target.exists():
        raise BackupError(f"{target} already exists")
    try:
        place.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(place)
        path.mkdir(mode=0o700)
        holding = os.open(path, os.O_RDONLY)
    except FileExistsError:
        raise BackupError(f"{name} is being made by another process") from None
    except OSError as error:
        raise BackupError(f"{place} can't be written to ({error.strerror}): see BACKUP_DIR") from error
    try:
        fcntl.flock(holding, fcntl.LOCK_EX)
        yield path
        _flush(path)
        path.rename(target)
        _flush(place)
    except OSError as error:
        raise BackupError(f"{name} could not be written ({error}): see BACKUP_DIR") from error
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(holding)


def _remove_abandoned(place: Path) -> None:
    """Remove unfinished backups of dead processes. A running backup holds a lock on its folder."""
    for path in place.glob(f"{_MAKING}*"):
        with contextlib.suppress(OSError):
            holding = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(holding, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(holding)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest and flush it to disk."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    with os.fdopen(os.open(path / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(encoded)
        file.flush()
        os.fsync(file.fileno())


def sum_of(root: Path, path: Path, *, alive: Callable[[], None] = lambda: None) -> File:
    """Compute the size and checksum of the file at `path`. `alive` is called for every chunk."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            alive()
    return File(str(path.relative_to(root)), size, digest.hexdigest())


def faults(backup: Backup) -> list[str]:
    """The files of the backup that differ from their checksums."""
    wrong: list[str] = []
    for file in backup.manifest.files:
        try:
            held = sum_of(backup.path, backup.path / file.path)
        except OSError as error:
            wrong.append(f"{file.path}: {error.strerror}")
            continue
        if held != file:
            wrong.append(f"{file.path} has changed since the backup: it has {held.bytes} bytes, and had {file.bytes}")
    return wrong


def now() -> datetime:
    """The current time in whole seconds, as in backup names."""
    return datetime.now(UTC).replace(microsecond=0)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def summary(backup: Backup) -> dict[str, Any]:
    """The backup's entry in a listing, ready for JSON."""
    manifest = backup.manifest
    return {
        "name": str(backup.name),
        "environment": backup.name.environment,
        "kind": str(backup.name.kind),
        "taken_at": backup.name.taken_at.isoformat(),
        "database": manifest.database,
        "server_version": manifest.server_version,
        "revision": manifest.revision,
        "bytes": backup.size,
        "seconds": manifest.seconds,
        "path": str(backup.path),
    }
