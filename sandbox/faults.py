"""Faults that the API can simulate: rate limits, errors, slow answers, lagging replicas, a wrong clock."""

import time

import msgspec

from sandbox.errors import StripeError


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """A fault for all operations whose name begins with `operation`. It lasts for `requests` requests or `seconds` seconds,
    or until it is removed."""

    operation: str = ""
    rate429: float = 0.0
    rate500: float = 0.0
    reason: str = "global-rate"
    slow_seconds: float = 0.0
    hang: bool = False
    requests: int | None = None
    seconds: float | None = None
    expires: float = float("inf")


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Requests a second: for the account, and for each named operation. None means no limit."""

    account: float | None = 25.0
    operation: float | None = 25.0


class Conditions:
    """The active faults, and the limits."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all faults and limits."""
        self.faults: list[Fault] = []
        self.limits: Limits | None = None
        self.replica_lag_seconds = 0.0
        self.date_skew_seconds = 0.0
        self._buckets: dict[str, tuple[float, float]] = {}

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        if fault.seconds is not None:
            fault.expires = time.monotonic() + fault.seconds
        self.faults.append(fault)

    def faults_of(self, operation: str) -> list[Fault]:
        """The faults for this request. The request counts towards the limit of each fault."""
        now = time.monotonic()
        self.faults = [fault for fault in self.faults if fault.expires > now and fault.requests != 0]
        met = [fault for fault in self.faults if operation.startswith(fault.operation)]
        for fault in met:
            if fault.requests is not None:
                fault.requests -= 1
        return met

    def limit(self, operation: str) -> None:
        """Refuse a request that exceeds a limit."""
        if self.limits is None:
            return
        if self.limits.operation is not None and not self._take(operation, self.limits.operation):
            raise rate_limited("endpoint-rate")
        if self.limits.account is not None and not self._take("", self.limits.account):
            raise rate_limited("global-rate")

    def _take(self, name: str, rate: float) -> bool:
        """Take a token from a bucket with the tokens of one second."""
        now = time.monotonic()
        tokens, filled = self._buckets.get(name, (rate, now))
        tokens = min(tokens + (now - filled) * rate, rate)
        enough = tokens >= 1
        self._buckets[name] = (tokens - 1 if enough else tokens, now)
        return enough


def rate_limited(reason: str) -> StripeError:
    """Stripe's answer to a request beyond the limit. It has no Retry-After header."""
    return StripeError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="lock_timeout" if reason == "lock-timeout" else "rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )
