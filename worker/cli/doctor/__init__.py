"""`stripe-sync doctor`."""
