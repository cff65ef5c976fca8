"""Check that a backup is intact, and how far its WAL reaches."""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.backup import folder, tools, wal
from worker.backup.folder import Backup
from worker.backup.policy import Kind
from worker.backup.take import DATA, DUMP
from worker.config.settings import Settings

# Files that are not in PostgreSQL's manifest, because they are written after it, or checked in another way.
_UNLISTED = ("backup_manifest", "pg_wal/")


@dataclass(frozen=True, slots=True)
class Checked:
    """The faults of a backup; for a physical backup, also the last WAL segment up to which it can be restored."""

    faults: tuple[str, ...]
    reaches: str | None = None


def check(settings: Settings, backup: Backup, *, alive: Callable[[], None] = lambda: None) -> Checked:
    """Recompute every checksum, read dumps with pg_restore, and read each archived WAL segment after a base backup."""
    faults = folder.faults(backup)
    if faults:
        return Checked(tuple(faults))
    try:
        if backup.name.kind is Kind.LOGICAL:
            program = tools.find(settings, "pg_restore", at_least=major(backup))
            tools.run([str(program), "--list", str(backup.path / DUMP)], tools.environment(settings), alive=alive)
            return Checked(())
        faults = _wrong_files(backup.path / DATA, alive)
        if faults:
            return Checked(tuple(faults))
        _read_own_wal(settings, backup, alive)
    except (tools.ToolMissing, tools.ToolFailed) as error:
        return Checked((str(error),))
    return _check_wal(folder.wal_folder(settings), backup)


def major(backup: Backup) -> int:
    """The major version of the server that was backed up."""
    return int(backup.manifest.server_version.split(".")[0].split()[0])


def _wrong_files(data: Path, alive: Callable[[], None]) -> list[str]:
    """Differences between the copy's backup_manifest and its files.

    This does the same as pg_verifybackup, which some installations lack.
    """
    raw = (data / "backup_manifest").read_bytes()
    written: dict[str, Any] = json.loads(raw)
    signed = raw[: raw.rindex(b'"Manifest-Checksum"')]
    if hashlib.sha256(signed).hexdigest() != written["Manifest-Checksum"]:
        return ["backup_manifest is damaged"]
    listed = {_path_of(entry): entry for entry in written["Files"]}
    held = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    wrong = [f"{name} is missing" for name in sorted(listed.keys() - held)]
    wrong += [
        f"{name} does not belong there" for name in sorted(held - listed.keys()) if not name.startswith(_UNLISTED)
    ]
    for name in sorted(listed.keys() & held):
        file = folder.sum_of(data, data / name, alive=alive)
        if (file.bytes, file.sha256) != (listed[name]["Size"], listed[name].get("Checksum", file.sha256)):
            wrong.append(f"{name} has changed since the backup")
    return wrong


def _path_of(entry: dict[str, Any]) -> str:
    return str(entry.get("Path") or bytes.fromhex(entry["Encoded-Path"]).decode(errors="surrogateescape"))


def _read_own_wal(settings: Settings, backup: Backup, alive: Callable[[], None]) -> None:
    """Check that the copy contains the WAL that makes it consistent, and that this WAL is readable.

    pg_waldump is part of the server. If it is not installed here, only the WAL in the archive is checked.
    """
    try:
        program = tools.find(settings, "pg_waldump", at_least=major(backup), exactly=True)
    except tools.ToolMissing:
        return
    assert backup.manifest.physical is not None
    span = backup.manifest.physical.span
    command = [
        str(program), "--quiet", f"--path={backup.path / DATA / 'pg_wal'}", f"--timeline={span.timeline}",
        f"--start={_lsn(span.start)}", f"--end={_lsn(span.stop)}",
    ]  # fmt: skip
    tools.run(command, tools.environment(settings), alive=alive)


def _lsn(at: int) -> str:
    return f"{at >> 32:X}/{at & 0xFFFFFFFF:X}"


def _check_wal(archive: Path, backup: Backup) -> Checked:
    base = backup.manifest.physical
    assert base is not None
    names = sorted(path.name for path in archive.iterdir()) if archive.is_dir() else []
    last, gap = wal.chain_end(names, base.span, base.segment_bytes)
    needed = wal.segment(base.span.timeline, base.span.stop - 1, base.segment_bytes)
    if last is None or last[8:] < needed[8:]:
        return Checked((f"the WAL that it needs is not in {archive}: {needed} is missing",))
    faults = [f"WAL has a gap after {last}: no later time can be restored from this backup"] if gap else []
    since = wal.segment(base.span.timeline, base.span.start, base.segment_bytes)
    faults += _damaged(archive, (name for name in names if since[8:] <= name[8:24] <= last[8:]), base.segment_bytes)
    return Checked(tuple(faults), last)


def _damaged(archive: Path, names: Iterable[str], segment_bytes: int) -> list[str]:
    """The segments that can't be decompressed, or are incomplete."""
    problems: list[str] = []
    for name in names:
        if name[24:] != ".gz":
            continue
        try:
            size = 0
            with gzip.open(archive / name) as file:
                while chunk := file.read(1 << 20):
                    size += len(chunk)
        except (OSError, EOFError) as error:
            problems.append(f"{name}: {error}")
            continue
        if size != segment_bytes:
            problems.append(f"{name} has {size} bytes instead of {segment_bytes}")
    return problems
