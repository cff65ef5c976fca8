"""Applications with other types of user ids. Adoption keeps the ids, and events, commands and the API use them."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from starlette.applications import Starlette

from schema.names import Names
from tests.adoption.applications import (
    DJANGO,
    DJANGO_NAMES,
    DRIZZLE_SERIAL,
    DRIZZLE_UUID,
    PRISMA_ENUMS,
    PRISMA_ENUMS_NAMES,
    PRISMA_UUID,
    PRISMA_UUID_NAMES,
    SUPABASE,
    SUPABASE_NAMES,
)
from tests.adoption.conftest import Application
from tests.adoption.test_adopt import sign_up
from tests.factories import NOW, customer, event, subscription
from worker.adoption.rules.findings import Verdict
from worker.membership import by_hand, compute, organizations
from worker.membership.rules.access import Policy
from worker.membership.why import why
from worker.on_access.answer import Desk
from worker.web.access_routes import AccessRoutes

New = Callable[[str], Application]

JENNY, JOHN = "0a000000-0000-4000-8000-000000000041", "0a000000-0000-4000-8000-000000000042"
APPLICATIONS = [
    pytest.param(DRIZZLE_SERIAL, Names(), "41", "42", id="drizzle-serial"),
    pytest.param(DRIZZLE_UUID, Names(), JENNY, JOHN, id="drizzle-uuid"),
    pytest.param(PRISMA_UUID, PRISMA_UUID_NAMES, JENNY, JOHN, id="prisma-uuid"),
    pytest.param(PRISMA_ENUMS, PRISMA_ENUMS_NAMES, "clx1jenny0000", "clx1john00000", id="prisma-cuid"),
    pytest.param(DJANGO, DJANGO_NAMES, "1700000000000000041", "1700000000000000042", id="django-bigint"),
    pytest.param(SUPABASE, SUPABASE_NAMES, JENNY, JOHN, id="supabase-uuid"),
]
MALFORMED = ["usr_1", "0a000000", "-1", "041", "99999999999999999999", "9" * 300, "41 or 1=1", "é", "{" + JENNY + "}"]


def ask(app: Application, *users: str) -> list[tuple[int, dict[str, Any]]]:
    """The answers to GET /v1/users/{id}/access for these users, over ASGI."""
    desk = Desk(app.settings)
    served = Starlette(routes=AccessRoutes(desk).routes)

    async def get(user: str) -> tuple[int, dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/v1/users/{user}/access",
            "query_string": b"",
            "headers": [],
        }
        await served(scope, receive, send)  # type: ignore[arg-type] # ASGI's own types are mappings
        body = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], json.loads(body) if sent[0]["status"] == 200 else {"reason": body.decode()}

    desk.open()
    try:
        return [asyncio.run(get(user)) for user in users]
    finally:
        desk.close()


def respelled(user_id: str) -> str:
    """The same id as another program may write it: a uuid in capitals, other ids unchanged."""
    return user_id.upper() if len(user_id) == 36 else user_id


@pytest.mark.parametrize(("sql", "names", "jenny", "john"), APPLICATIONS)
def test_an_application_keeps_its_ids_when_adopted(
    application: New, sql: str, names: Names, jenny: str, john: str
) -> None:
    app = application(sql)
    users = names.relation("users")
    row = f"select {names.column('users', 'role')}::text, tokens from {users} where id = '{{}}'"

    app.adopt(names)
    app.apply(*sign_up(user_id=respelled(jenny), email="pays@example.com"))
    app.apply(
        *(
            event("customer.created", customer(f"cus_{n}", user_id=malformed_id, email=None))
            for n, malformed_id in enumerate(MALFORMED)
        ),
        event("customer.subscription.created", subscription("sub_0", customer="cus_0")),
    )
    conn = app.daemon()
    explained = why(conn, respelled(jenny), Policy())
    by_hand.link(conn, "cus_0", john, Policy())
    by_hand.override(conn, john, "PREMIUM", Policy(), until=None, note=None)
    (shown, answer), (unknown, refusal), *malformed = ask(app, respelled(jenny), jenny[:-1] + "9", *MALFORMED)

    assert app.look(names).of(Verdict.MISSING, Verdict.CONFLICT) == []
    assert app.sql(row.format(jenny)) == [("PREMIUM", 1000)]
    assert app.sql(row.format(john)) == [("PREMIUM", 0)]
    assert explained is not None
    assert explained.user == jenny
    assert (shown, answer["tokens"], answer["role"]) == (200, 1000, "PREMIUM")
    assert answer["subscription"]["id"] == "sub_1"
    assert (unknown, jenny[:-1] + "9" in refusal["reason"]) == (404, True)
    assert [status for status, _ in malformed] == [404] * len(MALFORMED)
    assert app.sql(f"select consume_tokens('{jenny}', 300), token_balance('{jenny}')") == [(True, 1000)]
    assert app.sql(f"select token_balance('{jenny}')") == [(700,)]
    assert app.sql("select user_id from sync.customer_links where user_id is not null order by 1") == [
        (jenny,),
        (john,),
    ]
    app.sql(f"delete from {names.relation('payment_history')}; delete from {names.relation('user_subscriptions')};"
            f"delete from {names.relation('stripe_customers')}; delete from {users} where id = '{jenny}'")  # fmt: skip
    assert app.sql("select user_id from sync.customer_links where user_id is not null order by 1") == [(john,)]


@pytest.mark.parametrize(("sql", "names", "jenny", "john"), APPLICATIONS)
def test_shuffled_and_repeated_events_give_the_same_result_for_any_type_of_id(
    application: New, sql: str, names: Names, jenny: str, john: str
) -> None:
    app = application(sql)
    app.adopt(names)
    events = [*sign_up(user_id=respelled(jenny), email="pays@example.com")] * 2
    random.Random(jenny).shuffle(events)

    for each in events:
        app.apply(each)

    users = names.relation("users")
    assert app.sql(f"select {names.column('users', 'role')}::text, tokens from {users} where id = '{jenny}'") == [
        ("PREMIUM", 1000)
    ]
    assert app.sql(f"select tokens from {users} where id = '{john}'") == [(0,)]
    assert app.sql("select count(*) from sync.events where status <> 'done'") == [(0,)]


def test_existing_rows_keep_their_serial_ids_and_new_rows_get_the_next(application: New) -> None:
    app = application(DRIZZLE_SERIAL)
    app.adopt()
    rows = "select id, user_id, stripe_subscription_id, status from user_subscriptions"

    app.apply(*sign_up())
    first = app.sql(rows)
    app.apply(event("customer.subscription.updated", subscription(status="past_due"), created=NOW + 60))

    assert first == [(1, 41, "sub_1", "active")]
    assert app.sql(rows) == [(1, 41, "sub_1", "past_due")]
    assert app.sql("select id, user_id, stripe_customer_id from stripe_customers") == [(1, 41, "cus_jenny")]
    assert app.sql("select id, user_id from payment_history") == [(1, 41)]


def test_members_of_an_organization_are_found_by_its_uuid(application: New) -> None:
    app = application(DRIZZLE_UUID)
    app.adopt()
    team = subscription(
        "sub_team", customer="cus_team", metadata={"organization_id": "0a000000-0000-4000-8000-0000000000aa"}
    )

    app.apply(*sign_up()[:2], event("customer.subscription.created", team))
    conn = app.daemon()
    organizations.compute_waiting(conn, Policy(), should_continue=lambda: True)
    joined = app.sql("select role::text from users order by id")
    app.sql(f"update users set organization_id = '0a000000-0000-4000-8000-0000000000aa' where id = '{JOHN}'")
    compute.compute_due(conn, Policy(), should_continue=lambda: True)

    assert joined == [("PREMIUM",), ("USER",)]
    assert app.sql("select role::text from users order by id") == [("PREMIUM",), ("PREMIUM",)]


@pytest.mark.parametrize(
    ("sql", "names", "key", "more"),
    [
        (SUPABASE, SUPABASE_NAMES, "users_pkey", "(id) select gen_random_uuid()"),
        (DRIZZLE_SERIAL, Names(), "users_pkey", "(id, email) select 100 + n, n::text"),
    ],
)
def test_users_are_found_by_the_application_s_own_indexes(
    application: New, sql: str, names: Names, key: str, more: str
) -> None:
    app = application(sql)
    app.adopt(names)
    conn = app.daemon()
    app.sql(f"insert into {names.relation('users')} {more} from generate_series(1, 5000) as n; analyze")
    conn.execute("set plan_cache_mode = force_generic_plan")

    def plan(statement: str, *arguments: object) -> str:
        conn.execute("deallocate all")
        conn.execute(f"prepare asked as {statement}".encode())
        given = ", ".join(psycopg.sql.Literal(one).as_string(conn) for one in arguments)
        return "\n".join(line for (line,) in conn.execute(f"explain execute asked({given})".encode()))

    one = plan("select id from users where id = sync.user_key($1::text)", JENNY)
    many = plan("select id from users where id = any(sync.user_keys($1::text[]))", [JENNY, "usr_1"])
    joined = plan(
        "select u.id from sync.customer_links as l join users as u on u.id = sync.user_key(l.user_id) "
        "where l.stripe_customer_id = $1",
        "cus_1",
    )

    for row in (one, many, joined):
        assert f" {key} " in f"{row} ".replace("\n", " "), row
        assert "Index Cond: (id = " in row or "Index Cond: (id = ANY" in row, row
