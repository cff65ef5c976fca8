"""Membership: users' role, status, product and tokens, computed from mirrored rows."""
