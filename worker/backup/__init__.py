"""Backups with PostgreSQL's own tools: take them completely or not at all, check them, remove old ones, restore them."""
