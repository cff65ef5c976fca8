"""`stripe-sync db` as an operator runs it: what it shows first, what it refuses, and what it leaves behind."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import migrations
from migrations import drift
from tests.backends import Backend

pytestmark = pytest.mark.system

ROOT = Path(migrations.__file__).parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def command(env: dict[str, str], root: Path) -> Run:
    def run(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "worker", "db", *words],
            env=env | {"PYTHONPATH": str(root)} | changes,
            cwd=root,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def env(database: str, backend: Backend) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "DATABASE_URL": database, "REDIS_URL": backend.redis_url, "APP_ENV": "test"}


@pytest.fixture
def run(env: dict[str, str]) -> Run:
    return command(env, ROOT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source, to which tests can add a table or a revision."""
    for name in ("migrations", "schema", "worker", "sandbox"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.fixture
def run_there(env: dict[str, str], tree: Path) -> Run:
    return command(env, tree)


def add_revision(tree: Path, *statements: str, concurrently: bool = False) -> None:
    lines = "\n".join(f"        op.execute({statement!r})" for statement in statements)
    block = "    with op.get_context().autocommit_block():" if concurrently else "    if True:"
    (tree / "migrations/versions/9999_next.py").write_text(
        f'"""The next one."""\n\nfrom alembic import op\n\nrevision = "9999"\ndown_revision = "{migrations.head()}"\n'
        f"branch_labels = None\ndepends_on = None\n\n\ndef upgrade() -> None:\n{block}\n{lines}\n\n\n"
        "def downgrade() -> None:\n    pass\n"
    )


def revision_of(database: str) -> object:
    with psycopg.connect(database) as conn:
        row = conn.execute("select version_num from sync.alembic_version").fetchone()
    return row and row[0]


def test_the_environment_and_the_target_are_shown_but_never_the_password(run: Run, database: str) -> None:
    secret = re.sub(r"//(\w+)@", r"//\1:hunter2@", database)

    done = run("migrate", DATABASE_URL=secret)

    name = database.rpartition("/")[2]
    assert done.returncode == 0, done.stderr
    assert f"APP_ENV test: database {name} on " in done.stdout
    assert "nothing to do" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_production_is_changed_only_with_yes(run: Run, database: str) -> None:
    refused = run("rollback", APP_ENV="production")
    kept = revision_of(database)
    confirmed = run("rollback", "--yes", APP_ENV="production")
    behind = revision_of(database)
    unattended = run("migrate", APP_ENV="production")
    released = run("migrate", "--yes", APP_ENV="production")

    assert (refused.returncode, "--yes" in refused.stderr, "APP_ENV" in refused.stderr) == (1, True, True)
    assert kept == migrations.head()
    assert confirmed.returncode == 0, confirmed.stderr
    assert behind != migrations.head()
    assert unattended.returncode == 1
    assert released.returncode == 0, released.stderr
    assert revision_of(database) == migrations.head()


def test_the_release_of_the_procfile_needs_no_terminal() -> None:
    assert "release: stripe-sync db migrate --yes" in (ROOT / "Procfile").read_text().splitlines()


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_a_terminal_user_is_asked_for_confirmation(env: dict[str, str], database: str, answer: str, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "db", "rollback"],
        env=env | {"APP_ENV": "production"},
        cwd=ROOT,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    output, _ = process.communicate(timeout=60)
    os.close(ours)

    assert "Undo it?" in output
    assert process.returncode == code
    assert (revision_of(database) == migrations.head()) is (answer == "n")


def test_the_options_to_and_steps_choose_a_revision_and_a_wrong_choice_is_explained(
    run_there: Run, tree: Path, database: str
) -> None:
    add_revision(tree, "select 1")
    head = str(migrations.head())

    forth = run_there("migrate", "--to", "9999")
    back = run_there("rollback", "--to", head)
    again = run_there("migrate")
    faults = [
        run_there("migrate", "--to", head),
        run_there("migrate", "--to", "7777"),
        run_there("rollback", "--steps", "40"),
        run_there("rollback", "--to", "base", "--steps", "1"),
    ]

    assert [done.returncode for done in (forth, back, again)] == [0, 0, 0], forth.stderr + back.stderr + again.stderr
    assert [fault.returncode for fault in faults] == [1] * len(faults)
    assert f"rollback --to {head}" in faults[0].stderr
    assert "there is no revision 7777: there are 0001, " in faults[1].stderr
    assert f"{len(migrations.revisions()) + 1} revisions can be undone, not 40" in faults[2].stderr
    assert revision_of(database) == "9999"


def test_the_sql_of_a_migration_is_printed_and_nothing_runs(run_there: Run, tree: Path, database: str) -> None:
    add_revision(tree, "select '100%'")
    head = str(migrations.head())

    printed = run_there("migrate", "--to", "9999", "--sql")
    one = run_there("sql", "9999")
    first = run_there("sql", "0001")
    down = run_there("sql", "0001", "--down")
    span = run_there("sql", f"{head}:9999")
    unknown = run_there("sql", "7777")

    assert "create or replace function public.consume_tokens" in first.stdout
    assert "database" not in printed.stdout.partition("\n")[0]
    assert "select '100%'" in printed.stdout
    assert one.stdout.split() == span.stdout.split() == printed.stdout.split()
    assert "drop function public.consume_tokens" in down.stdout
    assert (unknown.returncode, "there are 0001" in unknown.stderr) == (1, True)
    assert revision_of(database) == head


def test_a_database_of_a_newer_release_is_reported_and_not_changed(run: Run, database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("update sync.alembic_version set version_num = '9999'")

    for words in (["migrate", "--yes"], ["rollback"], ["check"], ["generate", "-m", "x"], ["seed"]):
        done = run(*words)

        assert done.returncode == 1
        assert "9999, which this release does not know" in done.stderr
        assert "Traceback" not in done.stderr


def test_check_shows_the_revision_and_the_differences(run_there: Run, tree: Path, database: str) -> None:
    well = run_there("check")
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("alter table users drop column image")
        conn.execute("drop function consume_tokens")
    ill = run_there("check")
    as_json = run_there("check", "--json")
    add_revision(tree, "select 1")
    behind = run_there("check")

    assert (well.returncode, "equals the schema of this release" in well.stdout) == (0, True)
    assert (ill.returncode, "the column public.users.image is missing" in ill.stdout) == (1, True)
    assert "the function public.consume_tokens is missing" in ill.stdout
    assert json.loads(as_json.stdout) == {
        "revision": migrations.head(),
        "head": migrations.head(),
        "differences": ["the column public.users.image is missing", "the function public.consume_tokens is missing"],
    }
    assert (behind.returncode, "run `stripe-sync db migrate`" in behind.stdout) == (1, True)


def test_a_new_object_type_is_generated_as_contributing_describes(run_there: Run, tree: Path, database: str) -> None:
    mirror = tree / "schema/mirror.py"
    row = (
        '_table("promotion_codes", _text("code"), _bool("active"), _text("promotion_coupon"), _int("times_redeemed"), '
        'indexes=("code",)),'
    )
    source = mirror.read_text().replace("    for table in (\n", f"    for table in (\n        {row}\n")
    assert row in source
    mirror.write_text(source)
    number = f"{len(migrations.revisions()) + 1:04}"

    made = run_there("generate", "-m", "promotion codes")
    migrated = run_there("migrate")
    checked = run_there("check")
    nothing = run_there("generate", "-m", "promotion codes once more")
    back = run_there("rollback")
    unready = run_there("generate", "-m", "too early")

    assert made.returncode == 0, made.stderr
    assert "the table mirror.promotion_codes is missing" in made.stdout
    revision = tree / f"migrations/versions/{number}_promotion_codes.py"
    assert revision.read_text().startswith('"""Promotion codes."""\n')
    subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", revision], check=True, cwd=tree)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", "--check", revision], check=True, cwd=tree)
    assert "CREATE TABLE mirror.promotion_codes" in (tree / f"migrations/sql/{number}/up.sql").read_text()
    assert "DROP TABLE mirror.promotion_codes" in (tree / f"migrations/sql/{number}/down.sql").read_text()
    assert migrated.returncode == checked.returncode == back.returncode == 0, migrated.stderr + checked.stdout
    assert nothing.returncode == 1
    assert "nothing to generate: the metadata and the database agree" in nothing.stderr
    assert unready.returncode == 1
    assert "run `stripe-sync db migrate` first" in unready.stderr
    assert revision_of(database) == migrations.head()


def test_a_failing_revision_is_named_and_rolled_back(run_there: Run, tree: Path, database: str) -> None:
    add_revision(tree, "create table sync.half (id int)", "select 1 / 0")

    done = run_there("migrate")

    assert done.returncode == 1
    assert "revision 9999 failed: division by zero" in done.stderr
    assert f"It was rolled back completely: the database is at {migrations.head()}." in done.stderr
    assert "Traceback" not in done.stderr
    assert revision_of(database) == migrations.head()
    assert drift.differences(database) == []


def test_a_half_built_index_is_named_with_the_command_that_drops_it(run_there: Run, tree: Path, database: str) -> None:
    add_revision(tree, "create unique index concurrently if not exists ix_names on users (name)", concurrently=True)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("insert into users (name) values ('twice'), ('twice')")

    failed = run_there("migrate")
    again = run_there("migrate")
    fix = re.search(r"drop index concurrently ix_names;", failed.stderr)
    assert fix is not None, failed.stderr
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(fix[0].encode())
        conn.execute("delete from users")
    mended = run_there("migrate")

    assert failed.returncode == again.returncode == 1
    assert "revision 9999 failed" in failed.stderr
    assert "outside a transaction" in failed.stderr
    assert "drop index concurrently ix_names;" in again.stderr
    assert mended.returncode == 0, mended.stderr
    with psycopg.connect(database) as conn:
        assert conn.execute("select indisvalid from pg_index where indexrelid = 'ix_names'::regclass").fetchone() == (
            True,
        )


def test_reset_empties_our_tables_and_keeps_the_application_s(run: Run, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("insert into users (id) values ('u')")
        conn.execute("create table todos (id int, owner text references users)")
        conn.execute("insert into todos values (1, 'u')")

    asked = run("reset")
    refused = run("reset", "--yes", APP_ENV="production")
    held = run("reset", "--yes")
    with psycopg.connect(database, autocommit=True) as conn:
        kept = conn.execute("select count(*) from users").fetchone()
        conn.execute("alter table todos drop constraint todos_owner_fkey")
    done = run("reset", "--yes")

    assert (asked.returncode, "--yes" in asked.stderr) == (1, True)
    assert (refused.returncode, "production" in refused.stderr) == (1, True)
    assert held.returncode == 1
    assert "todos_owner_fkey on table todos depends on table users" in held.stderr
    assert kept == (1,)
    assert done.returncode == 0, done.stderr
    assert "users (1)" in done.stdout
    assert "todos" in done.stdout
    with psycopg.connect(database) as conn:
        assert conn.execute("select count(*) from users").fetchone() == (0,)
        assert conn.execute("select owner from todos").fetchone() == ("u",)
    assert drift.differences(database) == []


def test_reset_fixes_a_database_of_another_release(run: Run, database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("update sync.alembic_version set version_num = '9999'")
        conn.execute("create table sync.of_another_release (id int)")

    done = run("reset", "--yes")

    assert done.returncode == 0, done.stderr
    assert drift.differences(database) == []


def test_the_seed_equals_the_result_of_recomputing_all_users(run: Run, env: dict[str, str], database: str) -> None:
    refused = run("seed", APP_ENV="production")
    with_a_key = run("seed", STRIPE_SECRET_KEY="sk_test_somebodys", STRIPE_API_BASE="http://127.0.0.1:9")
    seeded = run("seed")
    twice = run("seed")
    applied = subprocess.run(
        [sys.executable, "-m", "worker", "membership", "apply", "--json"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (refused.returncode, "production" in refused.stderr) == (1, True)
    assert (with_a_key.returncode, "STRIPE_SECRET_KEY" in with_a_key.stderr) == (1, True)
    assert seeded.returncode == 0, seeded.stderr
    assert (twice.returncode, "db reset" in twice.stderr) == (1, True)
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["changed"] == 0
    with psycopg.connect(database) as conn:
        roles = conn.execute("select array_agg(distinct role::text order by role::text) from users").fetchone()
        states = conn.execute("select array_agg(distinct membership_status::text) from users").fetchone()
        wrong = conn.execute(
            """
            select u.id, u.tokens, g.balance_after
            from users as u
            join lateral (
                select balance_after from sync.token_grants where user_id = u.id order by id desc limit 1
            ) as g on true
            where g.balance_after <> u.tokens
            """
        ).fetchall()
        statuses = conn.execute("select array_agg(distinct status) from user_subscriptions").fetchone()
        open_ = conn.execute("select count(*) from sync.events where status <> 'done'").fetchone()
        payments = conn.execute("select count(*) from payment_history").fetchone()
    assert roles == (["ADMIN", "BANNED", "PREMIUM", "USER"],)
    assert states is not None
    assert set(states[0]) == {"ACTIVE", "INACTIVE", "CANCELED", "PAST_DUE"}
    assert statuses is not None
    assert set(statuses[0]) == {"active", "trialing", "past_due", "canceled", "paused", "incomplete"}
    assert wrong == []
    assert open_ == (0,)
    assert payments is not None
    assert payments[0] >= 10


def test_generate_takes_exactly_one_of_its_options(run: Run, tmp_path: Path) -> None:
    written = run("generate", "--types", "typescript", "--output", str(tmp_path / "tables.ts"))

    assert written.returncode == 0, written.stderr
    assert 'export const users = pgTable("users"' in (tmp_path / "tables.ts").read_text()
    assert run("generate").returncode == run("generate", "-m", " ").returncode == 1
    assert run("generate", "-m", "x", "--types", "typescript").returncode == 1
