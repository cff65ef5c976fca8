"""Counts on their way from a process through the database to Prometheus."""

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from worker.observe import metrics
from worker.observe.metrics import Unsaved


class _Saved(Collector):
    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def collect(self) -> list[Metric]:
        return list(metrics.families(self._counts))


def shown(counts: dict[str, int]) -> str:
    registry = CollectorRegistry()
    registry.register(_Saved(counts))
    return generate_latest(registry).decode()


def test_saved_counts_are_the_series_of_one_counter() -> None:
    text = shown({'events_applied {"outcome": "written"}': 7, 'events_applied {"outcome": "same"}': 2})

    assert 'stripe_sync_events_applied_total{outcome="written"} 7.0' in text
    assert 'stripe_sync_events_applied_total{outcome="same"} 2.0' in text


def test_an_observation_survives_a_round_trip_through_the_database() -> None:
    unsaved = Unsaved()
    unsaved.take()
    metrics.BATCH_SECONDS.observe(0.03)
    metrics.BATCH_SECONDS.observe(0.5)

    text = shown(unsaved.take())

    assert 'stripe_sync_batch_seconds_bucket{le="0.04"} 1.0' in text
    assert 'stripe_sync_batch_seconds_bucket{le="+Inf"} 2.0' in text
    assert "stripe_sync_batch_seconds_count 2.0" in text
    assert "stripe_sync_batch_seconds_sum 0.53" in text


def test_counts_that_could_not_be_saved_are_taken_again() -> None:
    unsaved = Unsaved()
    unsaved.take()
    metrics.WAKE_UPS.labels("sent").inc(3)

    taken = unsaved.take()
    unsaved.put_back(taken)

    assert unsaved.take() == taken == {'wake_ups {"outcome": "sent"}': 3}
    assert unsaved.take() == {}
