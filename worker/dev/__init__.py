"""Embedded servers for `stripe-sync dev` and the tests. Their programs come from the wheels of the extra `dev`."""
