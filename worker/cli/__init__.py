"""`stripe-sync`: what operators run. Each command is one call into a job or the store."""

from worker.cli.main import main

__all__ = ["main"]
