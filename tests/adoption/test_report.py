"""The report on an application's database, before anything is changed."""

from collections.abc import Callable

import pytest

from schema.names import Names
from tests.adoption.applications import BY_HAND, DRIZZLE, DRIZZLE_NAMES, PRISMA, PRISMA_NAMES
from tests.adoption.catalogue import everything
from tests.adoption.conftest import Application
from worker.adoption.adopt import NotAdoptable, Report
from worker.adoption.rules.findings import Verdict

New = Callable[[str], Application]


def reason(report: Report, table: str, what: str) -> tuple[str, str]:
    actual = [(one.verdict.value, one.reason) for one in report.findings if (one.table, one.what) == (table, what)]
    assert len(actual) == 1, actual
    return actual[0]


def conflicts(report: Report) -> dict[str, str]:
    return {f"{one.table} {one.what}": one.reason for one in report.of(Verdict.CONFLICT)}


def test_tables_with_other_names_raise_a_question_instead_of_being_duplicated(application: New) -> None:
    report = application(DRIZZLE).look()

    assert list(conflicts(report)) == ["users table"]
    assert '[membership.tables] (users = "user")' in conflicts(report)["users table"]


def test_columns_with_other_names_raise_a_question_instead_of_being_duplicated(application: New) -> None:
    report = application(DRIZZLE).look(Names(tables={"users": "user"}))

    assert list(conflicts(report)) == ["users column email_verified"]
    assert '"emailVerified"' in conflicts(report)["users column email_verified"]


def test_a_drizzle_and_auth_js_application_can_be_adopted(application: New) -> None:
    report = application(DRIZZLE).look(DRIZZLE_NAMES)

    assert conflicts(report) == {}
    assert reason(report, "users", "column email_verified") == ("fits", 'is "emailVerified"')
    assert reason(report, "users", "column role") == ("fits", "the enum role replaces user_role")
    assert reason(report, "users", "values of role")[1].startswith("1 users have roles that only the application knows")
    assert reason(report, "users", "column tokens") == ("missing", "tokens BIGINT DEFAULT 0 NOT NULL is added")
    assert reason(report, "accounts", "table")[0] == "left"


def test_a_prisma_application_can_be_adopted(application: New) -> None:
    report = application(PRISMA).look(PRISMA_NAMES)

    assert conflicts(report) == {}
    assert reason(report, "users", "column role") == ("missing", 'the labels PREMIUM are added to the enum "Role"')
    assert reason(report, "users", "column created_at")[0] == "differs" or reason(report, "users", "column created_at")
    assert reason(report, "user_subscriptions", "column current_period_end")[1].endswith(
        "will hold times in UTC, as Prisma expects"
    )
    assert reason(report, "stripe_customers", "foreign key user_id")[0] == "differs"
    assert reason(report, "users", "unique (email)") == ("fits", "")


def test_a_hand_written_application_can_be_adopted(application: New) -> None:
    report = application(BY_HAND).look()

    assert conflicts(report) == {}
    assert reason(report, "users", "column id") == ("fits", "")
    assert reason(report, "users", "column tokens") == ("fits", "")
    assert reason(report, "users", "column role")[0] == "differs"
    assert reason(report, "users", "index ix_users_email_folded") == ("fits", "")
    assert reason(report, "stripe_customers", "foreign key user_id")[0] == "missing"
    assert reason(report, "stripe_customers", "unique (user_id)")[0] == "missing"


@pytest.mark.parametrize(
    ("sql", "where", "says"),
    [
        ("create table users (id numeric primary key)", "users column id", "is numeric: ids can be text, uuid"),
        (
            "create table users (id uuid primary key); create table stripe_customers (id text primary key, "
            "user_id text, stripe_customer_id text unique)",
            "stripe_customers column user_id",
            "is text, but refers to ids that are uuid",
        ),
        ("create table users (name text)", "users column id", "name the column under [membership.columns.users]"),
        ("create view users as select 'a' as id", "users table", "is a view"),
        (
            "create table users (id text primary key, email_verified boolean)",
            "users column email_verified",
            "every user would count as verified",
        ),
        (
            "create table users (id text primary key, tokens_expires_at timestamp(3))",
            "users column tokens_expires_at",
            "change it to timestamptz",
        ),
        ("create table users (id text primary key, tokens numeric)", "users column tokens", "must be integer"),
        (
            "create table users (id text primary key, role text not null default 'user')",
            "users column role",
            "change the default to USER",
        ),
        (
            "create table users (id text primary key, tokens int)",
            "users column tokens",
            "may be null and has no default",
        ),
        (
            "create table users (id text primary key, tokens int default 0); insert into users values ('a', null)",
            "users nulls of tokens",
            "1 users have null",
        ),
        (
            "create table users (id text primary key, membership_status text not null default 'ACTIVE');"
            "insert into users values ('a', 'FROZEN')",
            "users values of membership_status",
            "1 users have a status that is none of",
        ),
        (
            "create table stripe_products (id text primary key, name text, metadata text)",
            "stripe_products column metadata",
            "must be jsonb",
        ),
        (
            "create table stripe_customers (id text primary key, user_id text, stripe_customer_id text);"
            "insert into stripe_customers values ('1', 'a', 'cus'), ('2', 'a', 'cus')",
            "stripe_customers unique (stripe_customer_id)",
            "1 values are not unique: fix them first",
        ),
        ("create schema stripe; create table stripe.customers (id text)", " schema stripe", "set STRIPE_SCHEMA to another name"),
        (
            "create function token_balance(text) returns int language sql as 'select 1'",
            " function token_balance",
            "is not ours",
        ),
    ],
)  # fmt: skip
def test_a_conflict_blocks_the_adoption_and_names_its_fix(application: New, sql: str, where: str, says: str) -> None:
    app = application(sql)
    before = everything(app.database)

    actual = conflicts(app.look())
    with pytest.raises(NotAdoptable) as refused:
        app.adopt()

    assert says in actual[where], actual
    assert says in str(refused.value)
    assert everything(app.database) == before


@pytest.mark.parametrize(
    ("sql", "what", "says"),
    [
        ("sku text not null", "column sku", "all of our rows are held back"),
        ("description text not null", "column description", "a row is held back if Stripe has no value for it"),
    ],
)
def test_a_not_null_column_is_not_a_conflict(application: New, sql: str, what: str, says: str) -> None:
    app = application(f"create table stripe_products (id text primary key, name text not null, {sql})")

    report = app.look()

    verdict, words = reason(report, "stripe_products", what)
    assert conflicts(report) == {}
    assert verdict == "differs"
    assert says in words


def test_a_foreign_key_is_left_out_if_rows_refer_to_missing_users(application: New) -> None:
    app = application(BY_HAND + "insert into stripe_customers values ('2', 'gone', 'cus_2');")

    report = app.look()

    assert reason(report, "stripe_customers", "foreign key user_id") == (
        "differs",
        "1 rows refer to missing rows of users; the foreign key is not added",
    )
