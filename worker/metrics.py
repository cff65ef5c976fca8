"""What is counted, for Prometheus: each process counts for itself."""

from prometheus_client import Counter, Histogram

__all__ = [
    "EVENTS_RECEIVED",
    "EVENTS_REFUSED",
    "FETCHES",
    "STRIPE_RATE_WAIT_SECONDS",
    "STRIPE_REQUESTS",
    "WAKE_UPS",
]

EVENTS_RECEIVED = Counter("stripe_sync_events_received", "Events answered 200, by what they were", ["outcome"])
EVENTS_REFUSED = Counter("stripe_sync_events_refused", "Requests not stored, by the error's code", ["code"])
WAKE_UPS = Counter("stripe_sync_wake_ups", "Wake-ups for the workers, by what became of them", ["outcome"])
STRIPE_REQUESTS = Counter(
    "stripe_sync_stripe_requests", "Requests to Stripe, by what came of them", ["operation", "outcome"]
)
STRIPE_RATE_WAIT_SECONDS = Histogram(
    "stripe_sync_stripe_rate_wait_seconds", "How long requests waited for the rate limit"
)
FETCHES = Counter(
    "stripe_sync_fetches", "Objects asked for because events left them uncertain, by outcome", ["outcome"]
)
