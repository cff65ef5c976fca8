"""Everything that listens on HTTP: the webhook endpoint, health, metrics and the operators' routes."""
