"""Return a user's present access. If the stored access is too old, read Stripe first."""
