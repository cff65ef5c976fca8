"""What is counted, for Prometheus: each process counts for itself."""

from prometheus_client import Counter

__all__ = ["EVENTS_RECEIVED", "EVENTS_REFUSED", "WAKE_UPS"]

EVENTS_RECEIVED = Counter("stripe_sync_events_received", "Events answered 200, by what they were", ["outcome"])
EVENTS_REFUSED = Counter("stripe_sync_events_refused", "Requests not stored, by the error's code", ["code"])
WAKE_UPS = Counter("stripe_sync_wake_ups", "Wake-ups for the workers, by what became of them", ["outcome"])
