"""The commands about one user, with the ids and the constraints of the application's own tables."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from schema.names import Names
from tests.adoption.applications import (
    DJANGO,
    DJANGO_NAMES,
    PRISMA_ENUMS,
    PRISMA_ENUMS_NAMES,
    SUPABASE,
    SUPABASE_NAMES,
)
from tests.adoption.conftest import Application, Run
from tests.adoption.test_adopt import sign_up
from tests.adoption.test_ids import APPLICATIONS, JENNY, JOHN, MALFORMED, respelled
from tests.factories import customer, event, subscription
from tests.sandboxes import KEY, Sandbox
from worker.membership.rules.access import Policy
from worker.on_access.answer import Desk
from worker.on_access.sync_user import NoSuchUser
from worker.privacy import erase
from worker.privacy.store import NotBlanked
from worker.writers import dry_run

New = Callable[[str], Application]

BY_COMMAND = [
    pytest.param(PRISMA_ENUMS, PRISMA_ENUMS_NAMES, "clx1jenny0000", "clx1john00000", id="prisma-cuid"),
    pytest.param(
        DJANGO.replace("'john', ''", "'john', 'john@example.com'"),
        DJANGO_NAMES,
        "1700000000000000041",
        "1700000000000000042",
        id="django-bigint",
    ),
    pytest.param(SUPABASE, SUPABASE_NAMES, JENNY, JOHN, id="supabase-uuid"),
]


def written(names: Names) -> str:
    """The names as a file for STRIPE_SYNC_CONFIG."""
    tables = "\n".join(f'{ours} = "{theirs}"' for ours, theirs in names.tables.items())
    columns = "\n".join(
        f"[membership.columns.{table}]\n" + "\n".join(f'{ours} = "{theirs}"' for ours, theirs in columns.items())
        for table, columns in names.columns.items()
    )
    return f"[membership.tables]\n{tables}\n{columns}\n"


@pytest.mark.parametrize(("sql", "names", "jenny", "john"), BY_COMMAND)
def test_every_command_about_a_user_takes_the_applications_id(
    application: New, run: Run, tmp_path: Path, sql: str, names: Names, jenny: str, john: str
) -> None:
    app = application(sql)
    (tmp_path / "stripe-sync.toml").write_text(written(names))
    named = {"STRIPE_SYNC_CONFIG": str(tmp_path / "stripe-sync.toml")}

    adopted = run("db", "adopt", "--apply", **named)
    app.apply(
        *sign_up(user_id=jenny, email="pays@example.com"),
        event("customer.created", customer("cus_john", email="john@example.com")),
        event("customer.subscription.created", subscription("sub_john", customer="cus_john", status="canceled")),
    )
    explained, listed = run("why", jenny, **named), run("link", "--list", "--json", **named)
    linked = run("link", "cus_john", john, **named)
    given = run("override", john, "--role", "PREMIUM", **named)
    feature = run("override", john, "--feature", "sso", **named)
    admin = run("setup-admin", "john@example.com", **named)
    synced = run("sync", "user", jenny, **named)
    malformed = [run(*words, "usr_1", **named) for words in (["why"], ["erase", "--yes"], ["sync", "user"])]
    erased = run("erase", john, "--yes", **named)

    assert (adopted.returncode, explained.returncode) == (0, 0), adopted.stdout + explained.stderr
    assert "role PREMIUM: sub_1 is active" in explained.stdout
    assert [(row["customer"], row["same_email"]) for row in json.loads(listed.stdout)] == [("cus_john", [john])]
    for done, says in (
        (linked, f"cus_john is now linked to {john}"),
        (given, f"The override of {john} is PREMIUM"),
        (feature, "the features are now sso"),
        (admin, "john@example.com is now ADMIN"),
        (erased, f"{john} is erased"),
    ):
        assert says in done.stdout, done.stderr
    assert "STRIPE_SECRET_KEY is not set" in synced.stderr
    for done in malformed:
        assert (done.returncode, done.stderr) == (1, "stripe-sync: there is no user usr_1\n")


@pytest.mark.parametrize(("sql", "names", "jenny", "john"), APPLICATIONS)
def test_a_user_is_read_from_stripe_by_the_applications_id(
    application: New, run: Run, tmp_path: Path, sandbox: Sandbox, sql: str, names: Names, jenny: str, john: str
) -> None:
    app = application(sql)
    app.adopt(names)
    (tmp_path / "stripe-sync.toml").write_text(written(names))
    key = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": sandbox.address}
    given = {**key, "STRIPE_SYNC_CONFIG": str(tmp_path / "stripe-sync.toml")}
    settings = app.settings.model_copy(update={"stripe_secret_key": SecretStr(KEY), "stripe_api_base": sandbox.address})
    # Stripe knows the users' ids. None of the events is delivered.
    sessions = [sandbox.tell("stories/sign_up", user_id=user)["ids"]["checkout_session"] for user in (jenny, john)]

    synced = run("sync", "user", respelled(jenny), "--checkout-session", sessions[0], "--json", **given)
    malformed = [run("sync", "user", "--", user, **given) for user in MALFORMED[:2]]
    desk = Desk(settings)
    desk.open()
    asked = desk.sync(respelled(john), checkout_session=sessions[1])
    again = desk.access(respelled(john), max_age=0)
    for user in MALFORMED:
        with pytest.raises(NoSuchUser):
            desk.sync(user)
    desk.close()

    assert synced.returncode == 0, synced.stderr
    answer = json.loads(synced.stdout)
    assert (answer["user"], answer["tokens"], answer["stale"]) == (jenny, 5000, False)
    assert (asked.stored.id, asked.stored.tokens, asked.stale) == (john, 5000, False)
    assert (again.stored.tokens, again.stale) == (5000, False)
    assert [(done.returncode, done.stderr) for done in malformed] == [
        (1, f"stripe-sync: there is no user {user}\n") for user in MALFORMED[:2]
    ]
    assert app.sql("select user_id from sync.user_syncs where leased_until is null order by 1") == [(jenny,), (john,)]


@pytest.mark.parametrize(("sql", "names", "jenny", "john"), APPLICATIONS)
def test_a_user_whose_columns_refuse_null_is_erased(
    application: New, sql: str, names: Names, jenny: str, john: str
) -> None:
    app = application(sql)
    app.adopt(names)
    app.apply(*sign_up(user_id=jenny))
    conn, users = app.daemon(), names.relation("users")
    strict = app.sql(
        f"select attnotnull from pg_attribute where attrelid = '{users}'::regclass and attname = 'email'"
    ) == [(True,)]

    erase.erase(conn, erase.look(conn, user=jenny, email="jenny@example.com"))

    placeholder = f"erased-{jenny}@erased.invalid" if strict else None
    assert app.sql(f"select email from {users} where id = '{jenny}'") == [(placeholder,)]
    assert app.sql("select data->>'email' from stripe.customers") == [(None,)]


@pytest.mark.parametrize("role", ["role", "varchar(20) check (r in ('USER', 'PREMIUM'))"])
def test_a_role_column_that_does_not_accept_admin_is_named(
    application: New, run: Run, tmp_path: Path, role: str
) -> None:
    app = application(
        "create type role as enum ('USER', 'PREMIUM');"
        f"create table users (id serial primary key, email text unique, r {role} not null default 'USER');"
        "insert into users (email) values ('jenny@example.com')"
    )
    (tmp_path / "stripe-sync.toml").write_text('[membership.columns.users]\nrole = "r"\n')
    named = {"STRIPE_SYNC_CONFIG": str(tmp_path / "stripe-sync.toml")}

    adopted = run("db", "adopt", "--apply", **named)
    refused = run("setup-admin", "jenny@example.com", **named)

    assert adopted.returncode == 0, adopted.stdout
    assert refused.returncode == 1
    assert "users.role does not accept ADMIN: " in refused.stderr
    assert "Traceback" not in refused.stderr
    assert app.sql("select r::text from users") == [("USER",)]


def test_a_table_that_refuses_blanked_values_is_named_and_nothing_is_erased(application: New, run: Run) -> None:
    app = application("create table users (id bigint primary key, email text not null check (email not like 'erased%'));"
                      "insert into users values (1, 'jenny@example.com')")  # fmt: skip
    app.adopt()

    refused = run("erase", "1", "--yes")

    assert refused.returncode == 1
    assert "the table users refuses to have email blanked: new row for relation" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert app.sql("select email from users") == [("jenny@example.com",)]
    assert app.sql("select count(*) from sync.erased") == [(0,)]
    with pytest.raises(NotBlanked):
        erase.erase(app.daemon(), erase.look(app.daemon(), user="1", email="jenny@example.com"))


@pytest.mark.parametrize(("sql", "names", "jenny", "john"), APPLICATIONS)
def test_the_dry_run_of_a_replay_works_with_user_ids_of_any_type(
    application: New, sql: str, names: Names, jenny: str, john: str
) -> None:
    app = application(sql)
    app.adopt(names)
    events = sign_up(user_id=jenny)
    app.apply(*events)
    app.sql("update sync.events set status = 'done'")

    tried = dry_run.replay(app.daemon(), str(events[3]["id"]), policy=Policy(), livemode=False)

    assert tried.type == "customer.subscription.created"
