"""Backups: taken with PostgreSQL's own tools, whole or not there at all, checked, thinned out, and restored."""
