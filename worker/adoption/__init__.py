"""Adopt an application's existing database."""
