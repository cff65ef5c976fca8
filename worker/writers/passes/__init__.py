"""Passes over Stripe's lists: each is a run in Postgres that threads of any process can continue."""
