"""The requests that the sandbox has received so far."""

import time
from collections import Counter
from typing import Any


class Stats:
    """Requests by operation and by status, and the busiest second."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Reset the counts."""
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self._second = 0
        self._in_second = 0
        self._of_operation: Counter[str] = Counter()
        self._busiest = 0
        self._busiest_operation: dict[str, int] = {}

    def requested(self, operation: str) -> None:
        """Count a request."""
        self.operations[operation] += 1
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
            self._of_operation.clear()
        self._in_second += 1
        self._of_operation[operation] += 1
        self._busiest = max(self._busiest, self._in_second)
        self._busiest_operation[operation] = max(
            self._busiest_operation.get(operation, 0), self._of_operation[operation]
        )

    def answered(self, status: int) -> None:
        """Count an answer."""
        self.statuses[status] += 1

    def shown(self) -> dict[str, Any]:
        """The counts."""
        return {
            "requests": dict(self.operations),
            "requests_total": self.operations.total(),
            "answers": {str(status): count for status, count in self.statuses.items()},
            "rate_limited": self.statuses[429],
            "max_per_second": self._busiest,
            "max_per_second_by_operation": self._busiest_operation,
        }
