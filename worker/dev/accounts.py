"""Run Postgres under an account that it accepts, with a data folder and binaries that this account can reach.

Postgres refuses to run as root. If we are root, it runs as `postgres` or `nobody`. These accounts may be unable to reach
the data folder, or a wheel in root's home.
"""

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from worker.dev.installs import Install, ServerError

# Unlike /tmp, this folder survives a restart of the machine.
_LASTING = "/var/tmp"  # noqa: S108 - only folders made by mkdtemp are used there


def postgres_binaries(install: Install, account: pwd.struct_passwd | None) -> Path:
    """A folder of Postgres programs that `account` can run: the installed folder, or a copy of it with its libraries."""
    if account is None or _can_run(install.binaries / "postgres", account):
        return install.binaries
    tried = str(install.binaries)
    for base in dict.fromkeys([tempfile.gettempdir(), _LASTING]) if install.copy_name else ():
        place = Path(base) / f"{install.copy_name}-{os.geteuid()}"
        copied = place / install.binaries.relative_to(install.folder.parent.parent)
        if place.exists() and not _is_ours_alone(place):
            raise ServerError(f"{place} belongs to another user: remove it, or set DATABASE_URL")
        if not _can_run(copied / "initdb", account):
            _copy_postgres(install, place)
        if _can_run(copied / "initdb", account):
            return copied
        tried = f"{install.binaries}, nor in {place}"
    raise ServerError(f"user {account.pw_name} can't run Postgres in {tried}: set DATABASE_URL")


def _copy_postgres(install: Install, place: Path) -> None:
    origin = install.folder.parent
    making = Path(tempfile.mkdtemp(prefix="stripe-sync-pg-", dir=place.parent))
    try:
        shutil.copytree(install.folder, making / origin.name / install.folder.name, symlinks=True)
        for libraries in origin.parent.glob(f"{origin.name}*.libs"):
            shutil.copytree(libraries, making / libraries.name, symlinks=True)
        # The package may have been installed with a strict umask.
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", str(making)], check=True)
        shutil.rmtree(place, ignore_errors=True)  # an old copy, from which the system has removed files
        with contextlib.suppress(OSError):  # another process made the same copy first
            making.rename(place)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _is_ours_alone(place: Path) -> bool:
    status = place.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def unprivileged() -> pwd.struct_passwd | None:
    """The account for Postgres to run as, if we are root; None for our own account otherwise."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(
        "Postgres refuses to run as root, and there is no account `postgres` or `nobody`: set DATABASE_URL"
    )


def reachable_home(home: Path, account: pwd.struct_passwd | None) -> Path:
    """Create `home`, and make the account its owner. If the account can't reach it, use a folder elsewhere instead.

    `home/elsewhere` links to that folder. Permissions of existing folders are never widened. The other folder has a random
    name, so after deleting `home`, the next start begins with an empty folder.
    """
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    if account is None:
        return home
    elsewhere = home / "elsewhere"
    if not elsewhere.is_dir():
        if _is_reachable(home.parent, account):
            os.chown(home, account.pw_uid, account.pw_gid)
            home.chmod(0o700)
            return home
        elsewhere.unlink(missing_ok=True)
        base = next((base for base in (_LASTING, tempfile.gettempdir()) if _is_reachable(Path(base), account)), None)
        if base is None:
            raise ServerError(f"user {account.pw_name} can't reach {home} or a temporary folder: set DATABASE_URL")
        place = Path(tempfile.mkdtemp(prefix="stripe-sync-", dir=base))
        os.chown(place, account.pw_uid, account.pw_gid)
        elsewhere.symlink_to(place)
    place = elsewhere.resolve()
    if place.stat().st_uid != account.pw_uid:
        raise ServerError(f"{place} belongs to another user: remove {elsewhere}, or set DATABASE_URL")
    return place


def _is_reachable(path: Path, account: pwd.struct_passwd) -> bool:
    return _succeeds(["/bin/sh", "-c", 'cd "$1"', "sh", str(path)], account)


def _can_run(program: Path, account: pwd.struct_passwd) -> bool:
    return _succeeds([str(program), "--version"], account)


def _succeeds(command: list[str], account: pwd.struct_passwd) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True, **run_as(account)).returncode == 0
    except OSError:
        return False


def run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments for Popen that run a program as the account, in a working folder that the account can reach."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}
