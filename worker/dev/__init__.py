"""Embedded servers for `stripe-sync dev` and the tests. Not part of the installed package."""
