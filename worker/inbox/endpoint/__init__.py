"""Our webhook endpoint at Stripe: find its problems, and create, change and roll it."""
