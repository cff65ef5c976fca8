"""Backups with PostgreSQL's own tools: taken completely or not at all, checked, thinned out, and restored."""
