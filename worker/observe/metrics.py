"""Metrics for Prometheus. Each process counts for itself, and workers save their counts in the database.

GET /metrics shows the web process's own counts, and those of the workers, which serve no HTTP, from `sync.counters`.
"""

import json

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

# From the fastest commit to the time-outs, in seconds.
LATENCIES = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10, 30, 60, 300)

EVENTS_RECEIVED = Counter("stripe_sync_events_received", "Events answered 200, by what they were", ["outcome"])
EVENTS_REFUSED = Counter("stripe_sync_events_refused", "Requests not stored, by the error's code", ["code"])
EVENTS_APPLIED = Counter("stripe_sync_events_applied", "Events done, by what became of them", ["outcome"])
EVENTS_PUT_OFF = Counter("stripe_sync_events_put_off", "Events that failed: retried, parked or released", ["outcome"])
WAKE_UPS = Counter("stripe_sync_wake_ups", "Wake-ups for the workers, by what became of them", ["outcome"])
STRIPE_REQUESTS = Counter(
    "stripe_sync_stripe_requests", "Requests to Stripe, by what came of them", ["operation", "outcome"]
)
STRIPE_RATE_WAIT_SECONDS = Histogram(
    "stripe_sync_stripe_rate_wait_seconds", "How long requests waited for the rate limit"
)
DOOR_SECONDS = Histogram("stripe_sync_door_seconds", "From a request's first byte to its 200", buckets=LATENCIES)
EVENT_LATENCY_SECONDS = Histogram(
    "stripe_sync_event_latency_seconds",
    "From the request that delivered an event to its committed row",
    buckets=LATENCIES,
)
BATCH_SECONDS = Histogram("stripe_sync_batch_seconds", "One transaction of the drain", buckets=LATENCIES)
STRIPE_REQUEST_SECONDS = Histogram(
    "stripe_sync_stripe_request_seconds",
    "Requests to Stripe, by operation and outcome",
    ["operation", "outcome"],
    buckets=LATENCIES,
)
FETCHES = Counter(
    "stripe_sync_fetches", "Objects asked for because events left them uncertain, by outcome", ["outcome"]
)
ACCESS_ANSWERS = Counter("stripe_sync_access_answers", "Answers on access, by whether they were fresh", ["outcome"])
ACCESS_QUESTIONS = Gauge("stripe_sync_access_questions", "Users on access for whom Stripe is being asked now")


class Unsaved:
    """The counts of this process that are not saved yet: whole numbers, by name and labels."""

    def __init__(self) -> None:
        self._saved: dict[str, int] = {}

    def take(self) -> dict[str, int]:
        """The counts since the last call, by `name {labels as JSON}`. They count as saved from now on."""
        now = dict(_counted())
        fresh = {name: value - self._saved.get(name, 0) for name, value in now.items()}
        self._saved = now
        return {name: value for name, value in fresh.items() if value}

    def put_back(self, counts: dict[str, int]) -> None:
        """Return counts that could not be saved; the next `take` includes them."""
        for name, value in counts.items():
            self._saved[name] = self._saved.get(name, 0) - value


def _counted() -> list[tuple[str, int]]:
    return [
        (
            f"{sample.name.removeprefix('stripe_sync_').removesuffix('_total')} {json.dumps(sample.labels, sort_keys=True)}",
            int(sample.value),
        )
        for family in REGISTRY.collect()
        if family.type == "counter" and family.name.startswith("stripe_sync_")
        for sample in family.samples
        if sample.name.endswith("_total")
    ]
