"""`stripe-sync db`."""
