"""Stripe's wire format: the HTTP client, the rate limit, events, lists and JSON paths."""
