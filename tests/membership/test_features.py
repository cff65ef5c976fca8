"""Users get the features that are attached to their products, however the mirror learns of a feature."""

import os
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.draining import read_lists
from tests.factories import Json, customer, event
from tests.membership.situations.life import (
    at,
    catalogue,
    checkout,
    item,
    jenny,
    product,
    refunded,
    subscribed,
)
from tests.sandboxes import Sandbox
from worker.membership import by_hand, catalogue_changes, compute, organizations, recompute_all
from worker.membership.rules.access import Policy
from worker.membership.rules.features import names
from worker.stripe_api.client import Stripe
from worker.writers.apply import compute_waiting

Apply = Callable[..., None]
# The documentation describes a run with FEATURE_SUBSCRIBERS=1000.
SUBSCRIBERS = int(os.environ.get("FEATURE_SUBSCRIBERS", "30"))


def features(conn: psycopg.Connection, user: str = "jenny") -> list[str]:
    rows = conn.execute("select distinct feature from user_features where user_id = %s order by feature", (user,))
    return [feature for (feature,) in rows]


def has(conn: psycopg.Connection, feature: str, user: str = "jenny") -> Any:
    row = conn.execute("select has_feature(%s, %s)", (user, feature)).fetchone()
    assert row is not None
    return row[0]


def by_features(conn: psycopg.Connection) -> dict[int, int]:
    """The number of users for each number of features."""
    return dict(
        conn.execute(
            """
            select n, count(*) from (
                select u.id, count(distinct f.feature) as n from users as u
                left join user_features as f on f.user_id = u.id group by u.id
            ) as of_users group by n
            """
        ).fetchall()
    )


def attach(sandbox: Sandbox, product: str, *keys: str) -> list[str]:
    made = []
    for key in keys:
        feature = sandbox.post("/v1/entitlements/features", name=key.title(), lookup_key=key)
        made.append(sandbox.post(f"/v1/products/{product}/features", entitlement_feature=feature["id"])["id"])
    return made


def planned(conn: psycopg.Connection) -> dict[str, list[str]]:
    """The features that `membership plan` would give, by user."""
    return {
        user: names(outcome.features)
        for piece in recompute_all.plan(conn, Policy())
        for user, outcome in piece.changing.items()
    }


def apply_all(conn: psycopg.Connection) -> int:
    steps = list(recompute_all.apply(lambda: psycopg.connect(conn.info.dsn, autocommit=True), Policy()))
    assert not steps[-1].outdated
    return steps[-1].changed


def apply_changes(conn: psycopg.Connection) -> bool:
    return catalogue_changes.compute_waiting(conn, Policy(), should_continue=lambda: True, batch=7)


def told_after(conn: psycopg.Connection, seen: Any) -> list[Any]:
    """Count the changes after this id, and their users, by the type and the added features."""
    return conn.execute(
        """
        select type, added, count(*), count(distinct user_id)
        from sync.changes cross join lateral (
            select array(
                select jsonb_array_elements_text(after->'features') except select jsonb_array_elements_text(before->'features')
            ) as added
        ) as f
        where id > %s
        group by type, added
        """,
        seen,
    ).fetchall()


def subscribers(number: int) -> list[Json]:
    """The events of `number` customers, each with a subscription to `basic`."""
    return [
        made
        for n in range(number)
        for made in (
            event("customer.created", customer(f"cus_{n}", user_id=f"u{n:04}"), created=at(-400)),
            subscribed(
                item("basic", id=f"si_{n}", subscription=f"sub_{n}"), when=-1, id=f"sub_{n}", customer=f"cus_{n}"
            ),
        )
    ]


def test_a_feature_attached_without_an_event_is_planned_and_given_to_every_subscriber(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Apply
) -> None:
    conn.execute(
        "insert into users (id) select 'u' || lpad(n::text, 4, '0') from generate_series(0, %s) as n", (SUBSCRIBERS,)
    )
    sandbox.post("/v1/products", name="Basic", id="prod_basic")
    attach(sandbox, "prod_basic", *(f"f{n:02}" for n in range(25)))
    apply(*catalogue("basic"), *subscribers(SUBSCRIBERS))
    read_lists(conn, stripe, ["product_features"])
    # The users were computed before any feature of the product was known, so the first read gives them its features at once.
    compute_waiting(conn, Policy())
    assert by_features(conn) == {25: SUBSCRIBERS, 0: 1}

    (last,) = attach(sandbox, "prod_basic", "late")
    read_lists(conn, stripe, ["product_features"])

    compute_waiting(conn, Policy())
    assert by_features(conn) == {25: SUBSCRIBERS, 0: 1}
    assert len(planned(conn)) == SUBSCRIBERS
    assert all("late" in held and len(held) == 26 for held in planned(conn).values())
    seen = conn.execute("select coalesce(max(id), 0) from sync.changes").fetchone()
    assert apply_all(conn) == SUBSCRIBERS
    assert by_features(conn) == {26: SUBSCRIBERS, 0: 1}
    assert told_after(conn, seen) == [("features.changed", ["late"], SUBSCRIBERS, SUBSCRIBERS)]
    assert planned(conn) == {}
    assert conn.execute("select count(*) from sync.drift").fetchone() == (0,)
    assert catalogue_changes.progress(conn)["products_waiting"] == []

    sandbox.delete(f"/v1/products/prod_basic/features/{last}")
    conn.execute("update mirror.product_features set observed_at = observed_at - interval '1 minute'")
    read_lists(conn, stripe, ["product_features"])

    assert catalogue_changes.progress(conn)["products_waiting"] == ["prod_basic"]
    assert apply_changes(conn)
    assert by_features(conn) == {25: SUBSCRIBERS, 0: 1}
    assert planned(conn) == {}
    assert catalogue_changes.progress(conn) == {"products_waiting": [], "users_done": 0, "users": 0}


def test_a_changed_product_waits_for_transactions_that_have_not_seen_the_change(
    conn: psycopg.Connection, database: str, apply: Apply
) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    apply(jenny(), *catalogue("basic"), subscribed(item("basic"), when=-1))
    with psycopg.connect(database) as other:
        other.execute("select pg_current_xact_id()")
        changed = product("basic", features="export")["data"]["object"]
        apply(event("product.updated", changed, created=at(-1)))
        assert not apply_changes(conn)
        assert features(conn) == []
    assert apply_changes(conn)
    assert features(conn) == ["export"]


def test_every_way_to_get_a_product_gives_its_features(conn: psycopg.Connection, apply: Apply) -> None:
    conn.execute("insert into organizations (id, name) values ('org', 'Org')")
    conn.execute("insert into users (id, organization_id) values ('jenny', null), ('member', 'org'), ('guest', null)")
    of_org = {"organization_id": "org"}
    apply(
        jenny(),
        event("customer.created", customer("cus_org"), created=at(-400)),
        product("lifetime", access="lifetime", features="export"),
        product("basic", features='["api"]'),
        *catalogue("basic")[1:],
        *catalogue("lifetime")[1:],
        subscribed(item("basic"), when=-1),
        subscribed(
            item("basic", id="si_2", subscription="sub_2"), when=-1, id="sub_2", customer="cus_org", metadata=of_org
        ),
        checkout(customer=None, client_reference_id="guest", metadata={"product": "prod_lifetime"}),
    )
    organizations.compute_waiting(conn, Policy(), should_continue=lambda: True)
    assert [features(conn, user) for user in ("jenny", "member", "guest")] == [["api"], ["api"], ["export"]]

    apply(
        event("product.updated", product("basic", features="api, beta")["data"]["object"], created=at(-1)),
        event(
            "product.updated",
            product("lifetime", access="lifetime", features="all")["data"]["object"],
            created=at(-1),
        ),
    )
    assert apply_changes(conn)

    assert [features(conn, user) for user in ("jenny", "member", "guest")] == [["api", "beta"]] * 2 + [["all"]]


def test_refunding_a_one_time_purchase_removes_its_feature(conn: psycopg.Connection, apply: Apply) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    apply(
        jenny(),
        product("lifetime", access="lifetime", features="export"),
        *catalogue("lifetime")[1:],
        checkout(metadata={"product": "prod_lifetime"}, amount=30_000),
    )
    assert has(conn, "export") is True

    apply(refunded("cs_1", 30_000))

    assert (features(conn), has(conn, "export")) == ([], False)


def test_an_operator_gives_a_feature_until_a_time(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    with conn.transaction():
        by_hand.override_feature(conn, "jenny", "export", Policy(), until=by_hand.until_when("2999-01-01"), note=None)
    assert (has(conn, "export"), has(conn, "api"), has(conn, "export", "nobody")) == (True, False, False)

    conn.execute("update sync.feature_overrides set until = now() - interval '1 second'")
    conn.execute("update user_features set until = now() - interval '1 second'")
    conn.execute("update sync.next_changes set due_at = now()")

    assert has(conn, "export") is False
    compute.compute_due(conn, Policy(), should_continue=lambda: True)
    assert features(conn) == []
    with pytest.raises(by_hand.Refused, match="has no override"), conn.transaction():
        by_hand.lift_feature(conn, "jenny", "api", Policy())


def test_a_banned_user_keeps_the_feature_rows_but_may_use_none(conn: psycopg.Connection, apply: Apply) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    apply(jenny(), product("basic", features="export"), *catalogue("basic")[1:], subscribed(item("basic"), when=-2))
    conn.execute("update users set role = 'BANNED'")

    apply(subscribed(item("basic"), when=-1, begun=-2, status="canceled"))

    assert (features(conn), has(conn, "export")) == (["export"], False)
