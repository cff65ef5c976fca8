"""The mirror of Stripe's objects: the registry of types, the rule for versions, and the SQL."""
