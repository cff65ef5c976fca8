"""Passes over Stripe's lists: runs in Postgres that the threads of any process carry on."""
