"""Celery on Redis: the app, its tasks, the beat schedule and the wake-ups between processes."""
