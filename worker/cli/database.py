"""Settings and connections for commands. Logs are quiet, and the database must have the tables of this release."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from worker.cli.output import fail
from worker.config import settings as config
from worker.config.settings import Settings
from worker.observe import log
from worker.postgres import schema_state
from worker.postgres.pool import connect as open_connection


def load() -> Settings:
    """Load the settings from the environment. Only warnings and errors are logged."""
    settings = config.load()
    log.configure(settings.model_copy(update={"log_level": "warning"}))
    return settings


def load_with_membership() -> Settings:
    """Load the settings for a command about users. Ends the command if MEMBERSHIP is off."""
    settings = load()
    if not settings.membership:
        fail("MEMBERSHIP=off: only the mirror is kept, so this command has no users to work on")
    return settings


@contextmanager
def connect(settings: Settings | None = None, *, application: str) -> Iterator[psycopg.Connection]:
    """A connection to the database of DATABASE_URL; raises SchemaNotReady unless it is at this release's revision."""
    with open_connection(settings or load(), application=application) as conn:
        schema_state.require(conn)
        yield conn
