"""The webhook endpoint at Stripe: find problems, create, change and roll it."""
