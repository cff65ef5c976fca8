"""The webhook endpoint as Stripe knows it: what is wrong with it, and how it is made, changed and rolled."""
