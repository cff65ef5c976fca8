"""Pauses that double with each attempt, up to a maximum."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds: `first` after the first attempt, at most `longest`."""

    first: float
    longest: float

    def pause(self, attempt: int) -> float:
        """The pause after this attempt; the first is 1."""
        # The exponent is bounded, because 2.0 to the power of 1024 raises OverflowError.
        return float(min(self.first * 2.0 ** min(max(attempt, 1) - 1, 64), self.longest))
