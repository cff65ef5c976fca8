"""Users of an organization follow its subscription as it changes, and as they join and leave."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.factories import (
    NOW,
    Json,
    customer,
    event,
    invoice,
    line_item,
    price,
    product,
    stub,
    subscription_item,
)
from tests.membership.teams import BOSS, LATER, LEFT, MEMBER, NOBODY, Apply, access, changed, rows, settle, team
from worker.membership import recompute_all
from worker.membership.compute import compute_due
from worker.membership.rules.access import Policy
from worker.membership.store import organization_queue
from worker.mirror.fold import Key, listed, retrieved
from worker.writers.record import Answered, record, record_answers


@pytest.mark.usefixtures("paying")
def test_a_subscription_gives_access_to_the_organization_it_names(conn: psycopg.Connection) -> None:
    assert access(conn) == {"ann": MEMBER, "bob": MEMBER, "boss": MEMBER, "eve": NOBODY, "sue": NOBODY}
    assert rows(conn, "select user_id, stripe_subscription_id from user_subscriptions") == [("boss", "sub_team")]
    assert rows(conn, "select user_id, organization_id from sync.organization_members order by 1") == [
        ("ann", "org"),
        ("bob", "org"),
    ]


@pytest.mark.usefixtures("people")
def test_the_other_spelling_of_the_metadata_key_names_the_organization_too(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(event("customer.subscription.created", team(key="organizationId")))
    settle(conn)

    assert access(conn)["ann"] == MEMBER


@pytest.mark.usefixtures("people")
def test_an_unlinked_customer_gives_the_organization_access_and_gets_no_tokens(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(
        event("product.created", product()),
        event("customer.subscription.created", team()),
        event("invoice.paid", invoice(customer=BOSS, lines=[line_item("il_1", subscription="sub_team")])),
    )
    settle(conn)

    assert access(conn) == {"ann": MEMBER, "bob": MEMBER, "boss": NOBODY, "eve": NOBODY, "sue": NOBODY}
    assert rows(conn, "select * from sync.token_grants") == []


@pytest.mark.usefixtures("paying")
def test_only_the_buyer_gets_tokens(conn: psycopg.Connection, apply: Apply) -> None:
    paid = invoice(customer=BOSS, lines=[line_item("il_1", subscription="sub_team")])
    apply(event("price.created", price()), event("invoice.paid", paid))
    settle(conn)

    assert rows(conn, "select distinct user_id from sync.token_grants") == [("boss",)]


@pytest.mark.usefixtures("paying")
@pytest.mark.parametrize(
    ("move", "then"),
    [
        ("update users set organization_id = 'org' where id = 'sue'", {"sue": MEMBER}),
        ("update users set organization_id = 'org' where id = 'eve'", {"eve": MEMBER}),
        ("insert into users (id, organization_id) values ('new', 'org')", {"new": MEMBER}),
        ("update users set organization_id = null where id = 'ann'", {"ann": LEFT, "bob": MEMBER}),
        ("update users set organization_id = 'other' where id = 'ann'", {"ann": LEFT}),
        ("delete from organizations where id = 'org'", {"ann": LEFT, "bob": LEFT, "boss": MEMBER}),
        ("update users set organization_id = 'other' where id = 'sue'", {"sue": NOBODY}),
        ("update users set organization_id = 'org' where id = 'boss'", {"boss": MEMBER}),
    ],
)
def test_moving_a_user_between_organizations_computes_them(
    conn: psycopg.Connection, move: str, then: dict[str, tuple[str, ...]]
) -> None:
    conn.execute(move)
    compute_due(conn, Policy(), should_continue=lambda: True)

    now = access(conn)

    assert {id_: now[id_] for id_ in then} == then
    assert rows(conn, "select * from sync.next_changes") == []


@pytest.mark.usefixtures("people")
def test_an_organization_created_after_its_subscription_counts(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.subscription.created", team(organization="late")))
    settle(conn)

    conn.execute("insert into organizations (id, name) values ('late', 'Late')")
    conn.execute("update users set organization_id = 'late' where id = 'sue'")
    compute_due(conn, Policy(), should_continue=lambda: True)

    assert access(conn)["sue"] == MEMBER


@pytest.mark.usefixtures("paying")
def test_a_user_made_premium_by_the_application_is_unchanged_without_an_organization_s_payment(
    conn: psycopg.Connection,
) -> None:
    conn.execute("insert into users (id, organization_id, role) values ('vip', 'other', 'PREMIUM')")
    conn.execute("update users set organization_id = null where id = 'vip'")
    compute_due(conn, Policy(), should_continue=lambda: True)

    assert access(conn)["vip"] == ("PREMIUM", "ACTIVE", None)


@pytest.mark.usefixtures("paying")
@pytest.mark.parametrize(
    ("after", "members"),
    [
        (team("past_due"), ("PREMIUM", "PAST_DUE", "prod_pro")),
        (team("unpaid"), ("USER", "PAST_DUE", None)),
        (team("paused"), ("USER", "INACTIVE", None)),
        (team("canceled"), LEFT),
        (team(organization=None), LEFT),
        (
            team(items=[subscription_item("si_2", subscription="sub_team", product="prod_max")]),
            ("PREMIUM", "ACTIVE", "prod_max"),
        ),
    ],
)
def test_members_follow_their_organization_s_subscription(
    conn: psycopg.Connection, apply: Apply, after: Json, members: tuple[str, ...]
) -> None:
    apply(changed(after))
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["bob"], now["eve"]) == (members, members, NOBODY)


@pytest.mark.usefixtures("paying")
def test_a_subscription_that_names_another_organization_moves_access_there(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(changed(team(organization="other")))
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["eve"], now["boss"]) == (LEFT, MEMBER, MEMBER)


@pytest.mark.usefixtures("paying")
def test_two_changes_in_one_batch_both_count(conn: psycopg.Connection, apply: Apply) -> None:
    apply(changed(team(organization="third")), changed(team(organization="other"), seconds=200))
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["eve"]) == (LEFT, MEMBER)


@pytest.mark.usefixtures("paying")
def test_a_subscription_missing_at_stripe_gives_no_access(conn: psycopg.Connection) -> None:
    key = Key("subscriptions", "subscription", "sub_team", "")
    gone = retrieved(key, None, read_at=LATER, shape="endive")
    with conn.transaction():
        record_answers(conn, [Answered(gone, rows(conn, "select rev from stripe.subscriptions")[0][0])], Policy())
    settle(conn)

    assert access(conn)["ann"] == LEFT


@pytest.mark.usefixtures("paying")
def test_a_list_that_shows_another_organization_counts_like_an_event(conn: psycopg.Connection) -> None:
    seen = listed(team(organization="other"), read_at=LATER, shape="endive")
    assert seen is not None
    with conn.transaction():
        record(conn, [seen], Policy())
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["eve"]) == (LEFT, MEMBER)


@pytest.mark.usefixtures("paying")
def test_a_deleted_customer_gives_no_access(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.deleted", stub(customer(BOSS)), created=LATER))
    settle(conn)

    assert access(conn)["ann"] == LEFT


@pytest.mark.usefixtures("people")
def test_a_product_that_arrives_late_gives_the_organization_s_users_its_role(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(event("customer.subscription.created", team()))
    settle(conn)
    before = access(conn)["ann"]

    apply(event("product.created", product(role="USER")))
    settle(conn)

    assert (before, access(conn)["ann"]) == (MEMBER, ("USER", "ACTIVE", "prod_pro"))


@pytest.mark.usefixtures("people")
def test_a_connected_account_s_subscription_gives_no_access(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.subscription.created", team(), account="acct_1"))
    asked = rows(conn, "select * from sync.organization_queue")
    organization_queue.request(conn, ["org"])
    settle(conn)

    assert (asked, access(conn)["ann"]) == ([], NOBODY)


@pytest.mark.usefixtures("paying")
@pytest.mark.parametrize(
    "after",
    [team(quantity=7), team(latest_invoice="in_9"), team(cancel_at_period_end=True), team(period_start=NOW + 99)],
)
def test_a_change_without_effect_on_members_computes_no_member(
    conn: psycopg.Connection, apply: Apply, after: Json
) -> None:
    apply(changed(after))

    assert rows(conn, "select * from sync.organization_queue") == []


@pytest.mark.usefixtures("paying")
def test_the_end_of_a_grace_changes_all_members(conn: psycopg.Connection, apply: Apply) -> None:
    policy = Policy(past_due_grace=timedelta(days=3))
    apply(changed(team("past_due", period_start=int(datetime.now(UTC).timestamp()))), policy=policy)
    settle(conn, policy)
    within = access(conn)["ann"]

    # Simulate that four days pass: make everything that Stripe reported four days older.
    conn.execute("update mirror.subscriptions set current_period_start = current_period_start - interval '4 days'")
    conn.execute("update sync.next_changes set due_at = due_at - interval '4 days'")
    compute_due(conn, policy, should_continue=lambda: True)

    now = access(conn)
    assert within == ("PREMIUM", "PAST_DUE", "prod_pro")
    assert now["ann"] == now["bob"] == ("USER", "PAST_DUE", None)


@pytest.mark.usefixtures("paying")
def test_an_unknown_status_is_logged_once_for_all_users(
    conn: psycopg.Connection, apply: Apply, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(changed(team("hibernating")))
    capsys.readouterr()
    settle(conn)

    assert capsys.readouterr().out.count("subscription.unknown_status") == 1
    assert access(conn)["ann"] == MEMBER


@pytest.mark.usefixtures("paying")
def test_a_policy_change_is_planned_and_applied_for_members_too(conn: psycopg.Connection, database: str) -> None:
    conn.execute("""update mirror.products set metadata = '{"role": "USER"}'""")

    planned = {id_ for piece in recompute_all.plan(conn, Policy()) for id_ in piece.changing}
    for _ in recompute_all.apply(lambda: psycopg.connect(database, autocommit=True), Policy()):
        pass

    assert planned == {"ann", "bob", "boss"}
    assert {access(conn)[id_] for id_ in planned} == {("USER", "ACTIVE", "prod_pro")}


@pytest.mark.usefixtures("people")
def test_recomputing_all_users_finds_changes_without_a_request(
    conn: psycopg.Connection, database: str, apply: Apply
) -> None:
    """A worker of the previous release, which queues no organization, applied the change."""
    apply(event("product.created", product()), event("customer.subscription.created", team()))
    conn.execute("delete from sync.organization_queue")

    for _ in recompute_all.apply(lambda: psycopg.connect(database, autocommit=True), Policy()):
        pass

    assert access(conn) == {"ann": MEMBER, "bob": MEMBER, "boss": NOBODY, "eve": NOBODY, "sue": NOBODY}
