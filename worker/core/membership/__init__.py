"""What a set of mirrored facts means for a user: which user a customer is, what they may do, which tokens they get."""
