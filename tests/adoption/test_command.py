"""`stripe-sync db adopt` as an operator runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adoption.applications import BY_HAND, PRISMA
from tests.adoption.catalogue import everything
from tests.adoption.conftest import Application, Run

New = Callable[[str], Application]

CONFIG = """
[membership.tables]
users = "User"
stripe_customers = "StripeCustomer"

[membership.columns.users]
email_verified = "emailVerified"
created_at = "createdAt"
updated_at = "updatedAt"

[membership.columns.stripe_customers]
user_id = "userId"
stripe_customer_id = "stripeCustomerId"
"""


def test_an_application_is_inspected_adopted_and_then_migrated(application: New, run: Run, tmp_path: Path) -> None:
    app = application(PRISMA)
    (tmp_path / "stripe-sync.toml").write_text(CONFIG)
    named = {"STRIPE_SYNC_CONFIG": str(tmp_path / "stripe-sync.toml")}
    # A table that resembles ours but is not named in the configuration raises a question.
    app.sql('drop table "Subscription"')
    before = everything(app.database)

    unnamed, looked = run("db", "adopt"), run("db", "adopt", "--json", **named)
    too_early, sql = run("db", "migrate", **named), run("db", "adopt", "--sql", **named)
    untouched = everything(app.database)
    applied, again = run("db", "adopt", "--apply", **named), run("db", "adopt", "--apply", **named)
    migrated = run("db", "migrate")
    status, doctor = run("status", "--json"), run("doctor")

    assert unnamed.returncode == 1
    assert 'users = "User"' in unnamed.stdout
    assert "test: database" in unnamed.stderr
    assert looked.returncode == 0, looked.stderr
    assert {"fits", "missing", "differs", "left"} == {row["verdict"] for row in json.loads(looked.stdout)}
    assert too_early.returncode == 1
    assert "db adopt" in too_early.stderr
    assert "create view sync_names.users" in sql.stdout
    assert untouched == before
    assert applied.returncode == 0, applied.stderr
    assert "were added" in applied.stdout
    assert "nothing was changed" in again.stdout
    assert (migrated.returncode, status.returncode) == (0, 0), migrated.stderr
    assert "ok    schema" in doctor.stdout
    assert "FAIL  membership" not in doctor.stdout


def test_an_adopted_database_is_not_reset_or_mistaken_for_ours(application: New, run: Run) -> None:
    app = application(BY_HAND)
    run("db", "adopt", "--apply")
    before = everything(app.database)

    check, reset = run("db", "check"), run("db", "reset", "--yes")

    assert (check.returncode, "stripe-sync db adopt" in check.stderr) == (1, True)
    assert (reset.returncode, "was adopted" in reset.stderr) == (1, True)
    assert everything(app.database) == before


def test_the_shown_sql_is_the_sql_that_would_run(application: New, run: Run) -> None:
    app = application(BY_HAND)
    shown = run("db", "adopt", "--sql").stdout

    app.sql("begin;" + shown + "alter table users drop column stripe_product_id; rollback")
    run("db", "adopt", "--apply")

    assert app.sql("select tokens_expires_at, stripe_product_id from users where id = 'jenny'") == [(None, None)]


def test_production_needs_a_confirmation(application: New, run: Run) -> None:
    app = application(BY_HAND)
    before = everything(app.database)

    asked = run("db", "adopt", "--apply", APP_ENV="production")
    meanwhile = everything(app.database)
    shown = run("db", "adopt", "--apply", "--yes", APP_ENV="production")

    assert asked.returncode == 1
    assert "--yes" in asked.stderr
    assert "production: database" in asked.stderr
    assert meanwhile == before
    assert shown.returncode == 0, shown.stderr
    assert "2 users are PREMIUM today" in shown.stdout


def test_adoption_does_not_wait_long_for_a_table_in_use(application: New, run: Run) -> None:
    app = application(BY_HAND)
    before = everything(app.database)

    with app.conn.transaction():
        app.sql("select from users")
        done = run("db", "adopt", "--apply")

    assert done.returncode == 1
    assert "in use for longer than" in done.stderr
    assert everything(app.database) == before


def test_settling_is_refused_until_stripe_has_been_read(application: New, run: Run) -> None:
    application(BY_HAND)

    never = run("db", "adopt", "--settle")
    run("db", "adopt", "--apply")
    early = run("db", "adopt", "--settle")

    assert (never.returncode, early.returncode) == (1, 1)
    assert "was not adopted" in never.stderr
    assert "sync all" in early.stderr


def test_an_adopted_database_is_not_downgraded_to_nothing(application: New, run: Run) -> None:
    application(BY_HAND)
    run("db", "adopt", "--apply")

    done = run("db", "rollback", "--to", "base")

    assert done.returncode == 1
    assert "was adopted" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_membership_off_a_migration_does_not_change_public(application: New, run: Run) -> None:
    app = application("create table users (id int)")
    before = everything(app.database, "public")

    migrated = run("db", "migrate", MEMBERSHIP="off")
    again = run("db", "migrate", MEMBERSHIP="off")
    doctor, status = run("doctor", MEMBERSHIP="off"), run("status", MEMBERSHIP="off")
    refused = run("override", "jenny", "--role", "PREMIUM", MEMBERSHIP="off")
    back_on, ill = run("db", "migrate"), run("doctor")

    assert (migrated.returncode, again.returncode, status.returncode) == (0, 0, 0), migrated.stderr
    assert everything(app.database, "public") == before
    assert "off: only the mirror is kept" in doctor.stdout
    assert "MEMBERSHIP=off" in refused.stderr
    assert "db adopt --apply" in back_on.stderr
    assert "FAIL  membership" in ill.stdout


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("[membership.tables]\nuser = 'x'", "[membership.tables] user: unknown name; the names are accounts"),
        (
            "[membership.columns.users]\nmail = 'x'",
            "[membership.columns.users] mail: unknown name; the names are created_at",
        ),
        ("[membership.columns.people]\nid = 'x'", "there is no table people"),
        ("[membership.tables]\nusers = 7", "is not a name"),
        ("[membership.tables]\nusers = 'organizations'", "are both organizations"),
        ("[members.tables]\nusers = 'x'", "[members] is not known"),
        ("[membership", "is not TOML"),
    ],
)
def test_a_wrong_configuration_file_stops_every_command(run: Run, tmp_path: Path, output: str, says: str) -> None:
    (tmp_path / "wrong.toml").write_text(output)

    done = run("status", STRIPE_SYNC_CONFIG=str(tmp_path / "wrong.toml"))

    assert done.returncode == 1
    assert "STRIPE_SYNC_CONFIG: " in done.stderr
    assert says in done.stderr


def test_a_missing_configuration_file_is_named(run: Run) -> None:
    done = run("status", STRIPE_SYNC_CONFIG="nowhere.toml")

    assert done.returncode == 1
    assert "nowhere.toml can't be read" in done.stderr
