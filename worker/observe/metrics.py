"""Metrics for Prometheus. Each process counts by itself, and saves its counts in the database within seconds.

GET /metrics shows the sums in `sync.counters`, so every scrape covers all processes. No count falls if the next scrape
reaches another process, or if a process ends.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

# Bucket bounds in seconds, from the fastest commit to the longest time-out.
LATENCIES = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10, 30, 60, 300)

EVENTS_RECEIVED = Counter("stripe_sync_events_received", "Events answered with 200, by outcome", ["outcome"])
EVENTS_SIGNED = Counter(
    "stripe_sync_events_signed", "Events stored, by the fingerprint of the secret that signed them", ["secret"]
)
EVENTS_REFUSED = Counter("stripe_sync_events_refused", "Refused requests, by error code", ["code"])
EVENTS_APPLIED = Counter("stripe_sync_events_applied", "Events done, by outcome", ["outcome"])
EVENTS_PUT_OFF = Counter("stripe_sync_events_put_off", "Events that failed: retried, parked or released", ["outcome"])
WAKE_UPS = Counter("stripe_sync_wake_ups", "Wake-ups for the workers, by outcome", ["outcome"])
STRIPE_REQUESTS = Counter(
    "stripe_sync_stripe_requests", "Requests to Stripe, by operation and outcome", ["operation", "outcome"]
)
STRIPE_REFUSED = Counter(
    "stripe_sync_stripe_refused",
    "Requests that Stripe refused because of the key (401) or its permissions (403)",
    ["status"],
)
STRIPE_RATE_WAIT_SECONDS = Histogram(
    "stripe_sync_stripe_rate_wait_seconds", "How long requests waited for the rate limit"
)
DOOR_SECONDS = Histogram(
    "stripe_sync_door_seconds", "From the first byte of a request to its answer 200", buckets=LATENCIES
)
EVENT_LATENCY_SECONDS = Histogram(
    "stripe_sync_event_latency_seconds",
    "From the commit of an event's delivery to the commit of its rows",
    buckets=LATENCIES,
)
BATCH_SECONDS = Histogram(
    "stripe_sync_batch_seconds", "Time to apply a batch of events, until its commit", buckets=LATENCIES
)
STRIPE_REQUEST_SECONDS = Histogram(
    "stripe_sync_stripe_request_seconds",
    "Duration of requests to Stripe, by operation and outcome",
    ["operation", "outcome"],
    buckets=LATENCIES,
)
FETCHES = Counter("stripe_sync_fetches", "Objects read because events left them uncertain, by outcome", ["outcome"])
USERS = Counter(
    "stripe_sync_users",
    "Users whose customers' data was written: computed, or skipped because no input of the computation changed",
    ["outcome"],
)
ACCESS_ANSWERS = Counter("stripe_sync_access_answers", "Answers to access requests, by freshness", ["outcome"])
ACCESS_QUESTIONS = Gauge(
    "stripe_sync_access_questions", "Users whose subscriptions are being read from Stripe for access requests now"
)
# Series with an alert start at 0, because `increase` does not notice a series that starts at 1.
for _counter, _labels in (
    (EVENTS_RECEIVED, ("new", "duplicate")),
    (EVENTS_PUT_OFF, ("released", "retried", "parked")),
    (WAKE_UPS, ("sent", "already_queued", "failed")),
    (STRIPE_REFUSED, ("401", "403")),
    (USERS, ("computed", "unchanged")),
    (FETCHES, ("confirmed", "corrected", "moved", "too_early", "failed")),
):
    for _label in _labels:
        _counter.labels(_label)

_PREFIX = "stripe_sync_"
# Sums of seconds are stored as whole microseconds.
_SUM = "_sum_us"


class Unsaved:
    """The counts of this process that are not saved yet, as integers by name and labels."""

    def __init__(self) -> None:
        self._saved: dict[str, int] = {}

    def take(self) -> dict[str, int]:
        """The counts since the last call, by `name {labels as JSON}`. From now on they are considered saved."""
        now = dict(_counted())
        fresh = {name: value - self._saved.get(name, 0) for name, value in now.items()}
        self._saved = now
        return {name: value for name, value in fresh.items() if value}

    def put_back(self, counts: dict[str, int]) -> None:
        """Return counts that could not be saved; the next `take` includes them."""
        for name, value in counts.items():
            self._saved[name] = self._saved.get(name, 0) - value


def families(saved: Mapping[str, int]) -> Iterator[Metric]:
    """The saved counts of all processes as Prometheus metrics, and the gauges of this process."""
    counters: dict[str, CounterMetricFamily] = {}
    histograms: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    begun = {key: 0 for key, _ in _counted()}
    for key, value in sorted((begun | dict(saved)).items()):
        name, _, encoded = key.partition(" ")
        labels: dict[str, str] = json.loads(encoded) if encoded else {}
        if name.endswith("_bucket"):
            bound = labels.pop("le")
            histograms[name.removesuffix("_bucket"), json.dumps(labels, sort_keys=True)][bound] = value
        elif name.endswith(_SUM):
            histograms[name.removesuffix(_SUM), encoded]["sum"] = value
        else:
            if name not in counters:
                counters[name] = CounterMetricFamily(_PREFIX + name, _text(name), labels=sorted(labels))
            counters[name].add_metric([labels[label] for label in sorted(labels)], value)
    yield from counters.values()
    yield from _histograms(histograms)
    yield from ACCESS_QUESTIONS.collect()


def _histograms(saved: Mapping[tuple[str, str], Mapping[str, int]]) -> Iterator[Metric]:
    made: dict[str, HistogramMetricFamily] = {}
    for (name, encoded), values in saved.items():
        labels: dict[str, str] = json.loads(encoded)
        bounds = sorted((bound for bound in values if bound != "sum"), key=float)
        if name not in made:
            made[name] = HistogramMetricFamily(_PREFIX + name, _text(name), labels=sorted(labels))
        made[name].add_metric(
            [labels[label] for label in sorted(labels)],
            [(bound, values[bound]) for bound in bounds],
            values.get("sum", 0) / 1e6,
        )
    yield from made.values()


def _text(name: str) -> str:
    """The documentation with which the metric was declared."""
    declared = {family.name: family.documentation for family in REGISTRY.collect()}
    return declared.get(_PREFIX + name, name.replace("_", " "))


def _counted() -> Iterator[tuple[str, int]]:
    for family in REGISTRY.collect():
        if not family.name.startswith(_PREFIX):
            continue
        for sample in family.samples:
            name, labels = sample.name.removeprefix(_PREFIX), json.dumps(sample.labels, sort_keys=True)
            if family.type == "counter" and name.endswith("_total"):
                yield f"{name.removesuffix('_total')} {labels}", int(sample.value)
            elif family.type == "histogram" and name.endswith("_bucket"):
                yield f"{name} {labels}", int(sample.value)
            elif family.type == "histogram" and name.endswith("_sum"):
                yield f"{name.removesuffix('_sum')}{_SUM} {labels}", int(sample.value * 1e6)
