"""Answer one user's access now, asking Stripe first where the stored answer is too old."""
