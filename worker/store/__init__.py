"""Postgres and nothing else: the inbox, the mirror, membership, and the connections to them."""
