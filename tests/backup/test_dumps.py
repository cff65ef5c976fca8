"""Dumps: a dump is complete or absent, only its owner can read it, and it is restored into an empty database."""

import os
import shutil
import stat
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from alembic import command

import migrations
from worker.backup import check, restore, take, tools
from worker.backup import folder as place
from worker.backup.folder import BackupError
from worker.backup.policy import Kind, Name
from worker.backup.tools import ToolFailed, ToolMissing
from worker.config.settings import Settings


def into(settings: Settings, database_url: str) -> Settings:
    return settings.model_copy(update={"database_url": database_url})


def test_a_dump_is_restored_into_an_empty_database(
    kept_in: Settings, filled: list[tuple[str, int]], empty_database: str
) -> None:
    made = take.logical(kept_in)

    restore.restore(into(kept_in, empty_database), made)

    with psycopg.connect(empty_database) as conn:
        assert conn.execute("select id, tokens from users order by id").fetchall() == filled
        # Sequences continue, functions and triggers exist, and the database is at the newest revision.
        assert conn.execute("select consume_tokens('ann', 10)").fetchone() == (True,)
        assert conn.execute("select token_balance('ann')").fetchone() == (4990,)
    command.check(migrations.configuration(empty_database))
    assert made.manifest.revision == migrations.head()


def test_a_backup_is_readable_only_by_its_owner(kept_in: Settings, filled: list[tuple[str, int]]) -> None:
    made = take.logical(kept_in)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (made.path, *made.path.iterdir())}
    assert modes == {made.path.name: 0o700, "database.dump": 0o600, "manifest.json": 0o600}


def test_no_password_is_on_a_command_line(kept_in: Settings, tmp_path: Path) -> None:
    answer = tmp_path / "said"
    program = fake(
        tmp_path, "pg_dump", f'echo "$@" > {answer}; echo "$PGPASSWORD/$PGDATABASE/$PGSSLMODE" >> {answer}; exit 1'
    )
    url = psycopg.conninfo.make_conninfo(kept_in.database_url, password="pa ss'word", sslmode="prefer")

    with pytest.raises(ToolFailed):
        take.logical(into(kept_in, url).model_copy(update={"backup_pg_bin": program.parent}))

    arguments, environment = answer.read_text().splitlines()
    assert "pa ss'word" not in arguments
    assert environment.startswith("pa ss'word/test_")
    assert environment.endswith("/prefer")


def test_a_failed_dump_leaves_nothing_and_reports_the_cause(kept_in: Settings, tmp_path: Path) -> None:
    fake(tmp_path, "pg_dump", 'echo "no space left on device" >&2; exit 1')

    with pytest.raises(ToolFailed, match="pg_dump failed: no space left on device"):
        take.logical(kept_in.model_copy(update={"backup_pg_bin": tmp_path}))

    assert list(place.folder(kept_in).iterdir()) == []


def test_an_incomplete_backup_is_not_listed_and_is_removed_by_the_next_backup(kept_in: Settings) -> None:
    root = place.folder(kept_in)
    name = Name(place.now().replace(year=2020), "test", Kind.LOGICAL)
    (root / f".making-{name}").mkdir(parents=True)
    (root / f".making-{name}" / "database.dump").write_bytes(b"half")
    (root / str(name)).mkdir()  # without a manifest it is not a backup
    assert place.list_backups(root) == []

    made = take.logical(kept_in)

    assert [backup.name for backup in place.list_backups(root)] == [made.name]
    assert sorted(path.name for path in root.iterdir()) == [str(name), str(made.name)]


def test_a_backup_running_in_another_process_is_not_removed(kept_in: Settings) -> None:
    root = place.folder(kept_in)
    name = Name(place.now().replace(year=2020), "test", Kind.LOGICAL)

    with place.making(root, name) as path:
        take.logical(kept_in)

        assert path.is_dir()
        with pytest.raises(BackupError, match="another process"), place.making(root, name):
            pass


def test_a_damaged_dump_is_detected_and_not_restored(kept_in: Settings, empty_database: str) -> None:
    made = take.logical(kept_in)
    assert check.check(kept_in, made).faults == ()
    with (made.path / "database.dump").open("r+b") as file:
        file.seek(made.manifest.files[0].bytes // 2)
        file.write(b"\0\0\0\0rot\0\0\0\0")

    faults = check.check(kept_in, made).faults

    assert len(faults) == 1
    assert "database.dump has changed since the backup" in faults[0]
    with pytest.raises(BackupError, match="is damaged"):
        restore.restore(into(kept_in, empty_database), made)


def test_a_database_that_is_not_empty_is_not_changed(kept_in: Settings, conn: psycopg.Connection) -> None:
    made = take.logical(kept_in)

    with pytest.raises(BackupError, match=r"is not empty: it has analytics\.churn_monthly.* and \d+ more"):
        restore.restore(kept_in, made)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("create table mine (id int)", "public.mine"),
        ("create schema sync", "schema sync"),
        ("create type mood as enum ('good')", "type public.mood"),
        ("create function one() returns int language sql return 1", r"public.one\(\)"),
        ("create view v as select 1", "public.v"),
    ],
)
def test_a_database_that_is_not_empty_is_refused_and_its_content_is_named(
    kept_in: Settings, empty_database: str, made: str, named: str
) -> None:
    dump = take.logical(kept_in)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        assert restore.contents(conn) == []
        conn.execute(made)

    with pytest.raises(BackupError, match=named):
        restore.restore(into(kept_in, empty_database), dump)


def test_a_failed_restore_leaves_the_database_empty(
    kept_in: Settings, conn: psycopg.Connection, empty_database: str
) -> None:
    # Create an index that pg_dump can dump but pg_restore can't create.
    conn.execute("create table zz (id int)")
    conn.execute("create function fails() returns int language plpgsql immutable as 'begin return 1; end'")
    conn.execute("create index zz_fails on zz ((id + fails()))")
    conn.execute("insert into zz values (1)")
    conn.execute(
        "create or replace function fails() returns int language plpgsql immutable as 'begin raise exception ''no''; end'"
    )
    made = take.logical(kept_in)

    with pytest.raises(ToolFailed, match="pg_restore failed"):
        restore.restore(into(kept_in, empty_database), made)

    with psycopg.connect(empty_database) as look:
        assert restore.contents(look) == []


def test_missing_roles_are_named_before_anything_is_restored(
    kept_in: Settings, conn: psycopg.Connection, empty_database: str
) -> None:
    conn.execute("create role gone_by_then")
    conn.execute("create table theirs (id int)")
    conn.execute("alter table theirs owner to gone_by_then")
    made = take.logical(kept_in)
    conn.execute("drop table theirs")
    conn.execute("drop role gone_by_then")

    with pytest.raises(BackupError, match=r"gone_by_then.*--no-owner"):
        restore.restore(into(kept_in, empty_database), made)
    restore.restore(into(kept_in, empty_database), made, own_everything=True)

    with psycopg.connect(empty_database) as look:
        assert look.execute("select count(*) from theirs").fetchone() == (0,)


def test_the_newest_backup_of_the_environment_or_the_named_one_is_chosen(kept_in: Settings) -> None:
    with pytest.raises(BackupError, match="no logical backup of test"):
        restore.choose(kept_in, None, Kind.LOGICAL)
    made = take.logical(kept_in)
    root = place.folder(kept_in)
    other = Name(made.name.taken_at, "production", Kind.LOGICAL)
    os.symlink(made.path, root / str(other))

    assert restore.choose(kept_in, None, Kind.LOGICAL).name == made.name
    assert restore.choose(kept_in, str(other), Kind.LOGICAL).name == other
    with pytest.raises(BackupError, match="is a logical backup, but a physical backup is needed"):
        restore.choose(kept_in, str(other), Kind.PHYSICAL)
    with pytest.raises(BackupError, match="`stripe-sync db backups` lists them"):
        restore.choose(kept_in, "nightly", Kind.LOGICAL)


def test_a_tool_that_is_too_old_is_named_with_its_fix(kept_in: Settings, tmp_path: Path) -> None:
    fake(tmp_path, "pg_dump", "echo 'pg_dump (PostgreSQL) 12.3 (Debian 12.3-1)'")
    settings = kept_in.model_copy(update={"backup_pg_bin": tmp_path})

    with pytest.raises(
        ToolMissing, match=r"pg_dump of PostgreSQL \d+ or newer is needed.*has version 12.*BACKUP_PG_BIN"
    ):
        take.logical(settings)
    with pytest.raises(ToolMissing, match=r"pg_restore .* it is not in"):
        tools.find(settings, "pg_restore", at_least=18)


def test_a_missing_backup_dir_is_reported(settings: Settings) -> None:
    with pytest.raises(BackupError, match="BACKUP_DIR is not set"):
        take.logical(settings)


def test_old_backups_are_removed_and_other_environments_are_kept(kept_in: Settings) -> None:
    root, held = place.folder(kept_in), take.logical(kept_in)
    old = [copied(held, days) for days in (2, 3, 40)]
    theirs = copied(held, 300, environment="production")
    settings = kept_in.model_copy(update={"backup_keep_daily": 2, "backup_keep_weekly": 0, "backup_keep_monthly": 0})

    removed = take.thin_out(settings)

    assert removed.backups == (old[1], old[2])
    assert {backup.name for backup in place.list_backups(root)} == {held.name, old[0], theirs}
    assert take.thin_out(settings) == take.Removed()


def test_nothing_is_removed_if_the_newest_backup_is_damaged(kept_in: Settings) -> None:
    root, held = place.folder(kept_in), take.logical(kept_in)
    copied(held, 300)
    (held.path / "database.dump").write_bytes(b"")
    settings = kept_in.model_copy(update={"backup_keep_daily": 1, "backup_keep_weekly": 0, "backup_keep_monthly": 0})

    assert take.thin_out(settings) == take.Removed()
    assert len(place.list_backups(root)) == 2


def copied(backup: place.Backup, days: int, *, environment: str = "test") -> Name:
    """Copy the backup, and return the copy's name, dated this many days earlier."""
    name = Name(backup.name.taken_at - timedelta(days=days), environment, backup.name.kind)
    shutil.copytree(backup.path, backup.path.with_name(str(name)))
    return name


def fake(folder: Path, name: str, script: str) -> Path:
    """Write a program with this name. It reports a new version, unless the script prints a version itself."""
    program = folder / name
    version = "" if "PostgreSQL)" in script else f'[ "$1" = --version ] && echo "{name} (PostgreSQL) 99.1" && exit; '
    program.write_text(f"#!/bin/sh\n{version}{script}\n")
    program.chmod(0o755)
    return program
