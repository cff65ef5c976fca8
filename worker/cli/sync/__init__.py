"""`stripe-sync sync`."""
