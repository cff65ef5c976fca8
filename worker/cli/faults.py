"""Explain errors that an operator can fix, each in one line."""

import sys

import psycopg

from worker.config.errors import SyncError
from worker.postgres.pool import READ_ONLY, hint


def explain(error: Exception) -> str | None:
    """The line to print for the error; None for a bug in the program, which needs its traceback."""
    if isinstance(error, SyncError):
        return str(error)
    if isinstance(error, (psycopg.OperationalError, READ_ONLY)):
        return f"the database can't be used (DATABASE_URL): {str(error).strip()}{hint(error)}"
    if isinstance(error, UnicodeEncodeError) and any(error.object in argument for argument in sys.argv):
        return f"the argument {error.object!r} is not valid UTF-8"
    return None
