"""Revenue in SQL."""
