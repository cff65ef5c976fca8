"""Errors by what is to be done about them: `Temporary` is tried again, `Permanent` is parked for a person."""


class SyncError(Exception):
    """Something went wrong that the daemon knows of. The docstring of a subclass is its default message."""

    def __init__(self, message: str | None = None, **ids: object) -> None:
        self.ids = ids
        super().__init__(message or type(self).__doc__)


class Temporary(SyncError):
    """It may work later."""


class Permanent(SyncError):
    """It will not work by being tried again."""
