"""`stripe-sync db backup`, `backups` and `restore`."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import typer
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from worker.backup import archiving, check, recover, take, tools
from worker.backup import folder as place
from worker.backup import restore as dumps
from worker.backup.folder import Backup
from worker.backup.policy import Kind
from worker.cli.output import fail, say, say_json, say_table
from worker.config import settings as config
from worker.config.settings import Settings
from worker.observe import log


def take_one(*, physical: bool, setup_archiving: bool, thin_out: bool, as_json: bool) -> None:
    """Back up the database into a folder named by environment and time, and remove backups that are no longer kept."""
    settings = _settings()
    if setup_archiving:
        _set_up_archiving(settings)
    if not as_json:
        say(f"Backing up {_target(settings)} into {place.folder(settings)}.")
    with _progress("pg_basebackup" if physical else "pg_dump", quiet=as_json) as alive:
        made = (take.physical if physical else take.logical)(settings, alive=alive)
    removed = take.thin_out(settings) if thin_out else take.Removed()
    if as_json:
        say_json(place.summary(made) | {"removed": [str(name) for name in removed.backups], "wal_removed": removed.wal})
        return
    say(f"Made {made.name}: {_size(made.size)} in {made.manifest.seconds} s.")
    for name in removed.backups:
        say(f"Removed {name} (BACKUP_KEEP_DAILY, _WEEKLY, _MONTHLY).")
    if removed.wal:
        say(f"Removed {removed.wal} WAL files that no base backup needs.")


def list_all(*, verify: bool, as_json: bool) -> None:
    """List the backups, newest first. With `verify`, the exit code is 1 if a backup is damaged."""
    settings = _settings()
    backups = place.list_backups(place.folder(settings))
    rows, good = [], True
    for one in backups:
        row = place.summary(one)
        if verify:
            with _progress(f"verifying {one.name}", quiet=as_json):
                checked = check.check(settings, one)
            good = good and not checked.faults
            row |= {"faults": list(checked.faults), "wal_until": checked.reaches}
        rows.append(row)
    if as_json:
        say_json(rows)
    elif not rows:
        say(f"There are no backups in {place.folder(settings)} yet: `stripe-sync db backup` takes one.")
    else:
        shown = ["name", "database", "size", "server_version", "revision", *(["verified"] if verify else [])]
        say_table(shown, ({**row, "size": _size(row["bytes"]), "verified": _verdict(row)} for row in rows))
    if not good:
        raise typer.Exit(1)


def restore(
    name: str | None,
    *,
    at: str | None,
    to: Path | None,
    owner: str | None,
    wal_from: Path | None,
    no_owner: bool,
    yes: bool,
) -> None:
    """Restore a dump into the empty database of DATABASE_URL; with --at, the whole server as of a point in time."""
    settings = _settings()
    if (at is None) != (to is None):
        fail("use --at TIME and --to DIR together: the point in time, and the new data folder to create")
    if at is not None and to is not None:
        if name is not None:
            fail("--at chooses the backup itself: leave the name out")
        _recover(settings, at, to, owner, wal_from, yes=yes)
        return
    chosen = dumps.choose(settings, name, Kind.LOGICAL)
    say(f"{_described(chosen)} will be restored into {_target(settings, settings.database_url)}, which must be empty.")
    _agree("Restore it?", yes=yes)
    began = time.monotonic()
    with _progress("pg_restore", quiet=False) as alive:
        dumps.restore(settings, chosen, own_everything=no_owner, alive=alive)
    say(f"Restored in {time.monotonic() - began:.1f} s.")
    _say_what_is_next()


def _recover(settings: Settings, at: str, to: Path, owner: str | None, wal_from: Path | None, *, yes: bool) -> None:
    moment = recover.read_time(at)
    chosen = recover.choose(settings, moment, more_wal=wal_from is not None)
    until = "the end of its WAL" if moment is None else moment.isoformat()
    say(f"{_described(chosen)}, with WAL up to {until}, will be prepared in {to.absolute()}. No server is touched.")
    _agree("Create that folder?", yes=yes)
    with _progress("verifying and copying", quiet=False) as alive:
        made = recover.prepare(settings, chosen, moment, to, owner=owner, wal_from=wal_from, alive=alive)
    say(f"Made {made.data}. A server started on it recovers first, and then accepts writes:\n\n    {made.command}\n")
    for note in made.notes:
        say(f"Note: {note}.")
    say("Stop web, worker and beat first, and then point DATABASE_URL at it. Its log shows how far it has recovered.")
    say(
        "It archives no WAL until you make it the production server: `stripe-sync db backup --physical --setup-archiving`."
    )
    _say_what_is_next()


def _say_what_is_next() -> None:
    say(
        "Then: `stripe-sync db migrate`, start web, worker and beat, and `stripe-sync sync all`. "
        "Events that Stripe created since then are read from its list of events (30 days), and no payment is granted twice. "
        "Data that your application wrote after that moment (new users, spent tokens) is missing: see docs/recovery.md."
    )


def _set_up_archiving(settings: Settings) -> None:
    folder = place.wal_folder(settings)
    with closing(take.connect(settings)) as conn:
        restart = archiving.set_up(conn, folder)
    say(
        f"{_target(settings)} archives its WAL to {folder}, at least every {archiving.ARCHIVE_SECONDS} s (alter system)."
    )
    if restart:
        say(
            "Restart PostgreSQL once now (archive_mode), then take the first base backup: `stripe-sync db backup --physical`."
        )
        raise typer.Exit(0)


def _settings() -> Settings:
    settings = config.load()
    log.configure(settings.model_copy(update={"log_level": "warning"}))
    return settings


def _target(settings: Settings, url: str | None = None) -> str:
    parts = conninfo_to_dict(url or tools.url(settings))
    where = f"{parts.get('host', 'the local server')}" + (f":{parts['port']}" if "port" in parts else "")
    return f"{parts.get('dbname', 'the default database')} at {where} ({settings.app_env})"


def _described(chosen: Backup) -> str:
    manifest = chosen.manifest
    return (
        f"{chosen.name} (of {manifest.database}, PostgreSQL {manifest.server_version}, "
        f"revision {manifest.revision or 'none'})"
    )


def _agree(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        fail("there is no terminal to confirm at: use --yes")
    if not typer.confirm(question):
        fail("nothing was done")


def _verdict(row: dict[str, object]) -> str | None:
    if "faults" not in row:
        return None
    faults, until = row["faults"], row["wal_until"]
    if faults:
        return "; ".join(faults) if isinstance(faults, list) else None
    return "good" + (f", WAL until {until}" if until else "")


def _size(number: int) -> str:
    size, units = float(number), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


@contextmanager
def _progress(what: str, *, quiet: bool) -> Iterator[Callable[[], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=quiet, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None)
        yield lambda: progress.update(task)
