"""Everything that knows Stripe's wire format: the HTTP client, events and JSON paths."""
