"""Revisions as a developer makes and runs them: generated, reviewed as SQL, failing, and concurrent."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.exc import DBAPIError

import migrations
from migrations import drift, files
from migrations.generate import NothingToGenerate, generate
from tests.schema.test_migrations import revisions

Write = Callable[[str], Path]


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """A copy of the revisions, to which tests can add one."""
    for name in ("versions", "sql"):
        shutil.copytree(
            migrations.VERSIONS.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path / "versions"


@pytest.fixture
def write(versions: Path) -> Write:
    """Add a revision after the newest, with the given upgrade."""

    def add(upgrade: str) -> Path:
        head = revisions()[-1]
        file = versions / "9999_next.py"
        file.write_text(
            "from alembic import op\n"
            f'revision = "9999"\ndown_revision = "{head}"\nbranch_labels = None\ndepends_on = None\n'
            f"def upgrade():\n{upgrade}\n"
            "def downgrade():\n    pass\n"
        )
        return file

    return add


def revision_of(conn: psycopg.Connection) -> object:
    row = conn.execute("select version_num from sync.alembic_version").fetchone()
    return row and row[0]


def test_the_printed_sql_creates_and_removes_the_database(empty_database: str) -> None:
    def sql(span: str, *, down: bool = False) -> bytes:
        output = io.StringIO()
        migrations.offline_sql(span, down=down, output=output)
        return output.getvalue().encode()

    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(sql("base:head"))
    made = drift.differences(empty_database)

    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(sql("head:base", down=True))
        left = conn.execute(
            "select count(*) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
        ).fetchone()

    assert made == []
    assert left == (0,)


def test_an_unknown_placeholder_is_named() -> None:
    with pytest.raises(ValueError, match=r"@\{userss\}: there is no such placeholder"):
        files.fill("select 1 from @{users}; select 1 from @{userss}", files.placeholders())

    kept = "select '{\"a\": 1}'::jsonb @> '{}', 'a@{', '%', $$ ${x} $$"
    assert files.fill(kept, files.placeholders()) == kept


def test_nothing_is_generated_if_metadata_and_database_agree(database: str, versions: Path) -> None:
    with pytest.raises(NothingToGenerate, match="the metadata and the database agree"):
        generate(database, "nothing", versions=versions)

    assert len(list(versions.glob("*.py"))) == len(revisions())


DRIFT = {
    "alter table sync.drift drop column behind": "the column sync.drift.behind is missing",
    "alter table users add column nick text": "the column public.users.nick is not in the metadata",
    "alter table users alter column name type varchar(9)": "public.users.name has the type VARCHAR(9)",
    "alter table users alter column tokens drop not null": "public.users.tokens is nullable, and should be not null",
    "alter table users alter column tokens set default 9": "the column public.users.tokens has a different default",
    "comment on column accounts.expires_at is 'x'": "the column public.accounts.expires_at has a different comment",
    "drop table sync.heartbeats": "the table sync.heartbeats is missing",
    "create table sync.stray (id int)": "the table sync.stray is not in the metadata",
    "drop index ix_users_organization_id": "the index ix_users_organization_id of public.users is missing",
    "create index stray on users (name)": "the index stray of public.users is not in the metadata",
    "drop index ix_users_tokens_expiring; create index ix_users_tokens_expiring on users (tokens_expires_at) "
    "where tokens > 1": "the index ix_users_tokens_expiring of public.users has the condition (tokens > 1)",
    "alter table sync.runs drop constraint ck_runs_outcome_is_known": "the constraint ck_runs_outcome_is_known of sync.runs "
    "is missing",
    "alter table sync.events drop constraint ck_events_status_is_known, "
    "add constraint ck_events_status_is_known check (status in ('done'))": "ck_events_status_is_known of sync.events is CHECK",
    "alter table users drop constraint uq_users_email": "the constraint uq_users_email of public.users is missing",
    "alter table sync.next_changes drop constraint fk_next_changes_user_id": "of sync.next_changes is missing",
    "drop function consume_tokens": "the function public.consume_tokens is missing",
    "create or replace function token_balance(user_id text) returns bigint language sql as 'select 1'": "token_balance"
    "(user_id text) differs from its declaration",
    "create function token_balance() returns int language sql as 'select 1'": "token_balance() is not declared",
    "create function sync.stray() returns int language sql as 'select 1'": "sync.stray() is not declared",
    "drop trigger touch_updated_at on users": "the trigger touch_updated_at on public.users is missing",
    "drop trigger touch_updated_at on accounts; create trigger touch_updated_at after update on accounts "
    "for each row execute function sync.touch_updated_at()": "touch_updated_at on public.accounts differs from its declaration",
    "create trigger stray before update on sync.counters for each row "
    "execute function sync.touch_updated_at()": "the trigger stray on sync.counters is not declared",
    "alter type user_role add value 'OWNER' before 'ADMIN'": "the values USER, PREMIUM, OWNER, ADMIN, BANNED",
}


def test_each_difference_is_reported_and_a_generated_revision_fixes_and_reverts_them_all(
    database: str, versions: Path, tmp_path: Path
) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for change in DRIFT:
            conn.execute(change.encode())
    reported = drift.differences(database)

    made = generate(database, "fix it", versions=versions)
    migrations.migrate(database, versions=versions)
    mended = drift.differences(database)
    migrations.downgrade(database, "-1", versions=versions)

    assert [expected for expected in DRIFT.values() if not any(expected in each for each in reported)] == []
    assert len(reported) == len(DRIFT)
    assert made.brings == reported
    assert mended == []
    assert sorted(drift.differences(database)) == sorted(reported)
    assert made.sql == [tmp_path / "sql" / made.revision.stem[:4] / name for name in ("up.sql", "down.sql")]
    assert made.revision.name == f"{len(revisions()) + 1:04}_fix_it.py"


def test_the_application_s_own_tables_in_public_do_not_count_as_drift(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("create table todos (id int)")
        conn.execute("create type mood as enum ('good')")
        conn.execute("create function mine() returns trigger language plpgsql as 'begin return new; end'")
        conn.execute("create trigger mine before update on users for each row execute function mine()")

    assert drift.differences(database) == []


def test_a_revision_that_fails_leaves_the_database_as_it_was(database: str, versions: Path, write: Write) -> None:
    write("    op.execute('create table sync.half (id int)')\n    op.execute('select 1 / 0')")

    with pytest.raises(DBAPIError, match="division by zero"):
        migrations.migrate(database, versions=versions)

    assert drift.differences(database) == []
    with psycopg.connect(database) as conn:
        assert revision_of(conn) == migrations.head()


def test_concurrent_releases_are_harmless_if_an_index_is_created_concurrently(
    database: str, versions: Path, write: Write
) -> None:
    write(
        "    with op.get_context().autocommit_block():\n"
        "        op.execute('create index concurrently ix_next on users (name)')"
    )
    program = "import sys, migrations, pathlib; migrations.migrate(sys.argv[1], versions=pathlib.Path(sys.argv[2]))"

    releases = [subprocess.Popen([sys.executable, "-c", program, database, str(versions)]) for _ in range(3)]

    assert [one.wait(timeout=60) for one in releases] == [0, 0, 0]
    with psycopg.connect(database) as conn:
        assert conn.execute("select indisvalid from pg_index where indexrelid = 'ix_next'::regclass").fetchone() == (
            True,
        )


def test_a_second_migration_waits_without_blocking_a_concurrent_index(database: str) -> None:
    """A migration that waited inside Postgres would deadlock with CREATE INDEX CONCURRENTLY."""
    with psycopg.connect(database, autocommit=True) as first:
        first.execute("select pg_advisory_lock(7390412285)")
        program = "import sys; from migrations.engine import held\nwith held(sys.argv[1]): print('held')"
        second = subprocess.Popen([sys.executable, "-c", program, database], stdout=subprocess.PIPE, text=True)
        try:
            name = conninfo_to_dict(database)["dbname"]
            while (
                first.execute(
                    "select from pg_stat_activity where datname = %s and query like '%%pg_try_advisory%%' "
                    "and pid <> pg_backend_pid()",
                    (name,),
                ).fetchone()
                is None
            ):
                assert second.poll() is None
            first.execute("set statement_timeout = '20s'")
            first.execute("create index concurrently ix_while_waiting on users (name)")
            first.execute("select pg_advisory_unlock(7390412285)")

            assert second.communicate(timeout=20)[0] == "held\n"
        finally:
            second.kill()
            second.wait()


def test_alembic_s_own_comparison_finds_no_difference(database: str) -> None:
    command.check(migrations.configuration(database))
