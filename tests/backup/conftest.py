"""Fixtures for tests of backups: a folder, and the content of a database."""

from pathlib import Path

import psycopg
import pytest

from worker.config.settings import Settings


@pytest.fixture
def kept_in(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a separate BACKUP_DIR for the test."""
    return settings.model_copy(update={"backup_dir": tmp_path / "backups"})


@pytest.fixture
def filled(conn: psycopg.Connection) -> list[tuple[str, int]]:
    """Two users, and their tokens."""
    users = [("ann", 5000), ("bob", 0)]
    for user, tokens in users:
        conn.execute("insert into users (id, email, tokens) values (%s, %s, %s)", (user, f"{user}@example.com", tokens))
    return users
