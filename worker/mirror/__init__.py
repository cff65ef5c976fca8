"""The mirror of Stripe's objects: the registry of types, the version rule, and the SQL."""
