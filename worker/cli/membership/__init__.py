"""`stripe-sync membership`."""
