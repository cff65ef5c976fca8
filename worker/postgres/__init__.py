"""Connections to Postgres, and bookkeeping that every job shares."""
