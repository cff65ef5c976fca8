"""Errors, classified by how to react: retry after a `Temporary` error; park the work for a person after a `Permanent` one."""


class SyncError(Exception):
    """An error that the daemon expects. The docstring of a subclass is its default message; `ids` go into the log."""

    def __init__(self, message: str | None = None, **ids: object) -> None:
        self.ids = ids
        super().__init__(message or type(self).__doc__)


class Temporary(SyncError):
    """A later attempt may succeed."""


class Permanent(SyncError):
    """Further attempts will fail too."""
