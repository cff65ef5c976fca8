"""Embedded servers for `stripe-sync dev` and the tests. They are not part of the installed package."""
