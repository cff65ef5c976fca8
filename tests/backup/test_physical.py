"""Physical backups of a separate server: the base backup, its WAL, and the folder prepared for point-in-time recovery."""

import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from tests.processes import eventually
from worker.backup import archiving, check, recover, take, wal
from worker.backup import folder as place
from worker.backup.folder import Backup, BackupError
from worker.config.settings import AppEnv, Settings
from worker.dev.servers import Postgres, start_postgres


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stripe-sync-physical-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Postgres]:
    running = start_postgres(home / "postgres", settings={"fsync": "off"})
    yield running
    running.close()


@pytest.fixture(scope="module")
def settings(server: Postgres, home: Path) -> Settings:
    return Settings(
        database_url=server.create_database("daemon"),
        redis_url="redis://127.0.0.1:1/0",
        app_env=AppEnv.TEST,
        stripe_webhook_secret=(SecretStr("whsec_test"),),
        backup_dir=home / "backups",
    )


@pytest.fixture(scope="module")
def base(settings: Settings, server: Postgres) -> Backup:
    """The first base backup. It can be taken only after archiving is set up."""
    with pytest.raises(BackupError, match=r"--setup-archiving.*(?s:.)*archive_mode = on"):
        take.physical(settings)
    with closing(take.connect(settings)) as conn:
        assert archiving.set_up(conn, place.wal_folder(settings))
        # Setting archiving up again gives the same result.
        assert archiving.set_up(conn, place.wal_folder(settings))
    server.restart()
    with closing(take.connect(settings)) as conn:
        assert not archiving.set_up(conn, place.wal_folder(settings))
    return take.physical(settings)


def owner() -> str | None:
    """The account that owns PostgreSQL's files if the tests run as root, else None."""
    if os.geteuid() != 0:
        return None
    return next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})


def archived(settings: Settings) -> list[str]:
    return sorted(path.name for path in place.wal_folder(settings).iterdir())


def takes_writes(server: Postgres) -> bool:
    """Whether the server's recovery is over."""
    with psycopg.connect(server.dsn) as conn:
        return conn.execute("select pg_is_in_recovery()").fetchone() == (False,)


def write_and_archive(settings: Settings) -> str:
    """Write a row, wait until its WAL segment is archived, and return the segment."""
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        conn.execute("create table if not exists written (at timestamptz default clock_timestamp())")
        conn.execute("insert into written default values")
        row = conn.execute("select pg_walfile_name(pg_switch_wal())").fetchone()
    assert row is not None
    eventually(lambda: f"{row[0]}.gz" in archived(settings))
    return str(row[0])


def test_a_base_backup_is_valid_up_to_the_end_of_its_wal(settings: Settings, base: Backup) -> None:
    last = write_and_archive(settings)

    assert check.check(settings, base) == check.Checked((), last)
    assert base.path.stat().st_mode & 0o777 == 0o700
    assert base in place.list_backups(place.folder(settings))


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("data/PG_VERSION", b"99\n", "PG_VERSION has changed since the backup"),
        ("data/PG_VERSION", None, "PG_VERSION is missing"),
        ("data/stranger", b"?", "stranger does not belong there"),
        ("data/backup_manifest", b"{}", "backup_manifest has changed since the backup"),
    ],
)
def test_a_damaged_base_backup_is_detected(
    settings: Settings, base: Backup, tmp_path: Path, name: str, change: bytes | None, fault: str
) -> None:
    damaged = Backup(base.name, tmp_path / "base", base.manifest)
    shutil.copytree(base.path, damaged.path)
    if change is None:
        (damaged.path / name).unlink()
    else:
        (damaged.path / name).write_bytes(change)

    checked = check.check(settings, damaged)

    assert checked.reaches is None
    assert [each for each in checked.faults if fault in each]
    with pytest.raises(BackupError, match="can't be used"):
        recover.prepare(settings, damaged, None, tmp_path / "new", owner=owner())
    assert not (tmp_path / "new").exists()


def test_a_gap_or_a_damaged_segment_in_the_wal_is_detected(settings: Settings, base: Backup, tmp_path: Path) -> None:
    segments = [write_and_archive(settings) for _ in range(3)]
    copy = settings.model_copy(update={"backup_wal_dir": tmp_path / "wal"})
    shutil.copytree(place.wal_folder(settings), tmp_path / "wal")
    (tmp_path / "wal" / f"{segments[1]}.gz").unlink()
    (tmp_path / "wal" / f"{segments[0]}.gz").write_bytes(b"rot")

    checked = check.check(copy, base)

    assert checked.reaches == segments[0]
    assert f"WAL has a gap after {segments[0]}" in checked.faults[0]
    assert segments[0] in checked.faults[1]


def test_no_backup_is_taken_of_a_server_that_archives_elsewhere(
    settings: Settings, base: Backup, tmp_path: Path
) -> None:
    elsewhere = settings.model_copy(update={"backup_wal_dir": tmp_path / "wal"})

    with pytest.raises(BackupError, match=r"did not arrive in .*archived elsewhere"):
        take.physical(elsewhere)
    with closing(take.connect(settings)) as conn, pytest.raises(BackupError, match="archive_command is already set"):
        archiving.set_up(conn, tmp_path / "wal")

    assert [backup.name for backup in place.list_backups(place.folder(settings))] == [base.name]


def test_the_last_base_backup_before_a_time_is_chosen_and_an_unreachable_time_is_refused(
    settings: Settings, base: Backup
) -> None:
    write_and_archive(settings)
    assert base.manifest.physical is not None
    finished = base.manifest.physical.finished_at

    assert recover.choose(settings, finished).name == base.name
    assert recover.choose(settings, None).name == base.name
    with pytest.raises(BackupError, match="no physical backup had finished by"):
        recover.choose(settings, finished - timedelta(seconds=1))
    with pytest.raises(BackupError, match=r"WAL is archived only until .*--at latest"):
        recover.choose(settings, datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(BackupError, match="no physical backup of production"):
        recover.choose(settings.model_copy(update={"app_env": AppEnv.PRODUCTION}), None)


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23T14:05:00", "2026-11-23"])
def test_a_time_without_a_utc_offset_is_refused(text: str) -> None:
    with pytest.raises(BackupError, match="is not a point in time"):
        recover.read_time(text)


def test_a_time_is_read_with_its_utc_offset() -> None:
    assert recover.read_time("2026-11-23T14:05:00+02:00") == datetime(2026, 11, 23, 12, 5, tzinfo=UTC)
    assert recover.read_time("latest") is None


def test_a_folder_that_is_not_empty_is_not_changed(settings: Settings, base: Backup, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").touch()

    with pytest.raises(BackupError, match=r"is not empty.*--to"):
        recover.prepare(settings, base, None, tmp_path / "data", owner=owner())

    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine"]


def test_the_restored_folder_has_its_settings_and_a_command_to_start_it(
    settings: Settings, base: Backup, tmp_path: Path
) -> None:
    moment = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)

    made = recover.prepare(settings, base, moment, tmp_path / "data", owner=owner())

    written = (made.data / "postgresql.auto.conf").read_text()
    assert "recovery_target_time = '2026-11-23 14:05:00.000000+00'" in written
    assert "recovery_target_action = 'promote'" in written
    assert "restore_command = 'd=" in written
    assert written.rindex("archive_command = ''") > written.rindex("archive_command = 'umask")
    assert (made.data / "recovery.signal").exists()
    assert f"-D {made.data}" in made.command
    if os.geteuid() == 0:
        with pytest.raises(BackupError, match="--owner"):
            recover.prepare(settings, base, moment, tmp_path / "other")


def test_wal_older_than_the_oldest_base_backup_is_removed(settings: Settings, base: Backup) -> None:
    take.thin_out(settings)
    held = archived(settings)
    newer = eventually(lambda: _another(settings))
    assert take.thin_out(settings) == take.Removed()
    assert newer.manifest.physical is not None
    span = newer.manifest.physical.span
    first = wal.segment(span.timeline, span.start, newer.manifest.physical.segment_bytes)

    shutil.move(base.path, base.path.with_name("away"))
    try:
        copies = {name: (place.wal_folder(settings) / name).read_bytes() for name in archived(settings)}
        removed = take.thin_out(settings)

        assert removed.backups == ()
        assert removed.wal == len([name for name in copies if name[8:24] < first[8:]]) > 0
        assert set(archived(settings)) == {name for name in copies if name[8:24] >= first[8:]}
        assert check.check(settings, newer).faults == ()
    finally:
        for name, content in copies.items():
            (place.wal_folder(settings) / name).write_bytes(content)
        shutil.move(base.path.with_name("away"), base.path)
        shutil.rmtree(newer.path)
    assert set(held) <= set(archived(settings))


def test_after_a_recovery_only_base_backups_that_lead_to_the_new_timeline_are_used(
    settings: Settings, base: Backup, home: Path
) -> None:
    write_and_archive(settings)
    abandoned = eventually(lambda: _another(settings))
    moment = base.manifest.physical.finished_at if base.manifest.physical else None
    made = recover.prepare(settings, recover.choose(settings, moment), moment, home / "second" / "data", owner=owner())
    second = start_postgres(made.data.parent)
    try:
        # A rehearsal would end here. The recovered server has written nothing to the real server's archive.
        eventually(lambda: takes_writes(second))
        with psycopg.connect(second.dsn) as conn:
            assert conn.execute("show archive_mode").fetchone() == ("on",)
            assert conn.execute("show archive_command").fetchone() == ("",)
        assert "00000002.history.gz" not in archived(settings)
        real = settings.model_copy(update={"database_url": second.dsn_for("daemon")})
        with closing(take.connect(real)) as conn:
            assert not archiving.set_up(conn, place.wal_folder(real))
        eventually(lambda: "00000002.history.gz" in archived(settings))

        # The newest backup belongs to the abandoned timeline, so the present state cannot be recovered from it.
        assert abandoned.name > base.name
        assert recover.choose(settings, None).name == base.name
    finally:
        second.close()
        shutil.rmtree(abandoned.path)
        for path in place.wal_folder(settings).glob("00000002*"):
            path.unlink()


def test_the_last_minute_is_restored_from_the_dead_server_s_data(
    settings: Settings, server: Postgres, base: Backup, home: Path
) -> None:
    write_and_archive(settings)
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        conn.execute("create table last_minute (id int)")
    server.kill()
    old = server.home / "data"
    made = recover.prepare(
        settings, recover.choose(settings, None), None, home / "third" / "data", owner=owner(), wal_from=old
    )
    server.start()
    with pytest.raises(BackupError, match="a server runs on"):
        recover.prepare(settings, base, None, home / "fourth", owner=owner(), wal_from=old)
    with pytest.raises(BackupError, match="there is no WAL in"):
        recover.prepare(settings, base, None, home / "fourth", owner=owner(), wal_from=home)

    third = start_postgres(made.data.parent)
    try:
        eventually(lambda: takes_writes(third))
        with psycopg.connect(third.dsn_for("daemon")) as conn:
            assert conn.execute("select count(*) from last_minute").fetchone() == (0,)
    finally:
        third.close()
        with psycopg.connect(settings.database_url, autocommit=True) as conn:
            conn.execute("drop table last_minute")


def _another(settings: Settings) -> Backup | None:
    """Take another base backup. Return None if the newest backup is of the same second, because its name would be the same."""
    newest = place.list_backups(place.folder(settings))[0]
    if place.now() == newest.name.taken_at:
        time.sleep(0.1)
        return None
    return take.physical(settings)
