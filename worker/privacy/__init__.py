"""Erase a person's data, and keep it erased."""
