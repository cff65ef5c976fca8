"""Tests of the sandbox, the stand-in for Stripe."""
