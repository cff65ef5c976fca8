"""Answer with one user's present access, reading Stripe first if the stored answer is too old."""
