"""The sandbox's clock: the real time, an offset from it, or a frozen time."""

import time
from collections.abc import Callable


class Clock:
    """A clock that can be set. Signatures and retries use the real time instead."""

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self._read = read
        self.offset = 0.0
        self.frozen_at: float | None = None

    def precise(self) -> float:
        """The time in unix seconds, with fractions."""
        return self.frozen_at if self.frozen_at is not None else self._read() + self.offset

    def now(self) -> int:
        """The time in whole unix seconds, as Stripe writes it."""
        return int(self.precise())

    @property
    def mode(self) -> str:
        """`real`, `running` (at an offset from the real time) or `frozen`."""
        if self.frozen_at is not None:
            return "frozen"
        return "running" if self.offset else "real"

    def set(self, now: float, *, frozen: bool = False) -> None:
        """Set the clock. It continues to run from this time, or stays frozen."""
        self.frozen_at = now if frozen else None
        self.offset = 0.0 if frozen else now - self._read()

    def advance(self, seconds: float) -> None:
        """Move the clock, forwards or back."""
        if self.frozen_at is not None:
            self.frozen_at += seconds
        else:
            self.offset += seconds

    def follow_real_time(self) -> None:
        """Return to the real time."""
        self.offset, self.frozen_at = 0.0, None

    def let_pass(self, seconds: float) -> None:
        """Advance the clock a little within a story, unless it shows the real time."""
        if self.mode != "real":
            self.advance(seconds)
