"""MEMBERSHIP=off: Stripe is mirrored without writing, reading or needing anything in `public`."""

from collections.abc import Callable

from schema.names import Names
from tests.adoption.applications import PRISMA, PRISMA_NAMES
from tests.adoption.catalogue import everything
from tests.adoption.conftest import Application
from tests.adoption.test_adopt import sign_up

New = Callable[[str], Application]

# A database of another application, in which our names mean something else.
STRANGE = "create table users (id int primary key); create type user_role as enum ('a'); insert into users values (7);"


def test_the_mirror_fills_while_public_does_not_change(application: New) -> None:
    app = application(STRANGE)
    before = everything(app.database, "public")

    app.adopt(is_membership=False)
    again = app.adopt(is_membership=False)
    app.apply(*sign_up(user_id="7"), off=True)

    assert again.added == 0
    assert everything(app.database, "public") == before
    assert app.sql("select id, status from stripe.subscriptions") == [("sub_1", "active")]
    for table in (
        "sync.customer_links",
        "sync.recompute_queue",
        "sync.next_changes",
        "sync_names.users",
        "sync_names.stripe_products",
    ):
        assert app.sql(f"select count(*) from {table}") == [(0,)]


def test_users_added_later_get_their_data_from_the_mirror(application: New) -> None:
    app = application("")
    app.adopt(is_membership=False)
    app.apply(*sign_up(), off=True)
    app.sql(PRISMA.replace("default 'USER'", "default 'USER'"))

    done = app.adopt(PRISMA_NAMES)
    app.apply()

    assert done.overrides == 0
    assert app.sql('select id, role::text, tokens from "User" order by id') == [
        ("jenny", "PREMIUM", 1000),
        ("john", "USER", 0),
    ]
    assert app.sql("select id from stripe_products") == [("prod_pro",)]
    assert app.adopt(PRISMA_NAMES).added == 0


def test_turning_membership_on_later_gives_the_schema_of_a_migrated_database(application: New, database: str) -> None:
    app = application("")
    app.adopt(is_membership=False)

    app.adopt(Names())

    assert everything(app.database, "public", "sync", "mirror", "stripe") == everything(
        database, "public", "sync", "mirror", "stripe"
    )
    assert [line for line in everything(app.database, "sync_names") if not line.startswith("function ")] == []
