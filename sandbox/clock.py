"""The sandbox's clock: the real time, an offset from it, or a time that stands still."""

import time
from collections.abc import Callable


class Clock:
    """A clock that can be set. Signatures and retries don't use it: they belong to the world outside."""

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self._read = read
        self.offset = 0.0
        self.frozen_at: float | None = None

    def precise(self) -> float:
        """Unix seconds with their fraction."""
        return self.frozen_at if self.frozen_at is not None else self._read() + self.offset

    def now(self) -> int:
        """Unix seconds, whole, as Stripe writes them."""
        return int(self.precise())

    @property
    def mode(self) -> str:
        """`real`, `running` (beside the real time) or `frozen`."""
        if self.frozen_at is not None:
            return "frozen"
        return "running" if self.offset else "real"

    def set(self, now: float, *, frozen: bool = False) -> None:
        """Make it `now`; from there the clock runs on, or stands still."""
        self.frozen_at = now if frozen else None
        self.offset = 0.0 if frozen else now - self._read()

    def advance(self, seconds: float) -> None:
        """Move the clock, forwards or back."""
        if self.frozen_at is not None:
            self.frozen_at += seconds
        else:
            self.offset += seconds

    def follow_real_time(self) -> None:
        """Give up any setting."""
        self.offset, self.frozen_at = 0.0, None

    def let_pass(self, seconds: float) -> None:
        """Let a moment pass inside a story, unless the time is the real one, which passes by itself."""
        if self.mode != "real":
            self.advance(seconds)
