"""Users and what is known of them, as plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from schema.states import MembershipStatus, UserRole
from worker.membership.rules.access import KNOWN_STATUSES, Access
from worker.membership.rules.facts import Item, Override, PaidLine, Product, Subscription, User
from worker.membership.rules.tokens import Grant

NOW = datetime(2026, 11, 20, tzinfo=UTC)
JAN = datetime(2026, 1, 1, tzinfo=UTC)

POLICIES = {
    product.id: product
    for product in (
        Product(id="prod_pro", tokens=1000),
        Product(id="prod_max", tokens=5000),
        Product(id="prod_basic", role=UserRole.USER, tokens=100),
        Product(id="prod_none"),
    )
}


def day(number: int) -> datetime:
    """The given day after NOW; before it, where the number is negative."""
    return NOW + timedelta(days=number)


def subscribed(
    id: str = "sub_1",
    status: str = "active",
    *,
    product: str | None = "prod_pro",
    created: datetime = JAN,
    period_start: datetime | None = NOW - timedelta(days=10),
    period_end: datetime | None = NOW + timedelta(days=20),
    paused_for: str | None = None,
    trial_end: datetime | None = None,
    items: Sequence[Item] | None = None,
) -> Subscription:
    found = (Item(id=f"si_{id}", price="price_1", product=product),) if items is None else tuple(items)
    return Subscription(
        id=id,
        status=status,
        created=created,
        period_start=period_start,
        period_end=period_end,
        paused_for=paused_for,
        trial_end=trial_end,
        items=found,
    )


def line(
    id: str = "il_1",
    *,
    invoice: str = "in_1",
    billing_reason: str | None = "subscription_cycle",
    product: str | None = "prod_pro",
    subscription: str | None = "sub_1",
    quantity: int = 1,
    proration: bool = False,
    period_start: datetime = NOW - timedelta(days=10),
    period_end: datetime = NOW + timedelta(days=20),
    paid_at: datetime | None = None,
    item: str | None = None,
    **more: Any,
) -> PaidLine:
    """A line of a paid invoice; it was paid when its period began, unless `paid_at` says otherwise."""
    return PaidLine(
        invoice=invoice,
        line=id,
        billing_reason=billing_reason,
        product=product,
        subscription=subscription,
        quantity=quantity,
        proration=proration,
        period_start=period_start,
        period_end=period_end,
        paid_at=paid_at or period_start,
        item=item,
        **more,
    )


def user(
    *subscriptions: Subscription,
    role: UserRole = UserRole.USER,
    status: MembershipStatus = MembershipStatus.ACTIVE,
    product: str | None = None,
    tokens: int = 0,
    expires: datetime | None = None,
    override: Override | None = None,
    lines: Iterable[PaidLine] = (),
    running: Iterable[PaidLine] = (),
) -> User:
    return User(
        id="user_1",
        role=role,
        membership_status=status,
        stripe_product_id=product,
        tokens=tokens,
        tokens_expires_at=expires,
        subscriptions=subscriptions,
        override=override,
        paid_lines=tuple(lines),
        running=tuple(running),
    )


def with_access(of: User, access: Access) -> User:
    """The user once the access was written."""
    return replace(
        of,
        role=access.role,
        membership_status=access.membership_status,
        stripe_product_id=access.stripe_product_id,
    )


def holding(of: User, granted: Sequence[Grant]) -> User:
    """The user once the grants are in the ledger and in the balance: what granted something is remembered."""
    if not granted:
        return of
    keys = {grant.source_key for grant in granted}
    real = [grant for grant in granted if grant.amount and grant.period_start is not None]
    last = dict(of.last_granted)
    for grant in real:
        key = grant.subscription or ""
        assert grant.period_start is not None
        last[key] = max(last.get(key, grant.period_start), grant.period_start)
    return replace(
        of,
        tokens=granted[-1].balance_after,
        tokens_expires_at=granted[-1].expires_at,
        paid_lines=tuple(each for each in of.paid_lines if f"invoice:{each.invoice}:line:{each.line}" not in keys),
        granted_invoices=of.granted_invoices | {grant.invoice for grant in real if grant.invoice},
        last_granted=last,
        last_key=granted[-1].source_key,
        lots=granted[-1].lots,
        renewed=of.renewed | {grant.source_key for grant in granted if grant.kind == "token_period"},
    )


# Anybody

_subscriptions = st.builds(
    subscribed,
    st.sampled_from(["sub_1", "sub_2", "sub_3"]),
    st.sampled_from([*sorted(KNOWN_STATUSES), "hibernating"]),
    product=st.sampled_from([*POLICIES, None, "prod_unknown"]),
)
_lines = st.builds(
    line,
    st.sampled_from(["il_1", "il_2", "il_3"]),
    invoice=st.sampled_from(["in_1", "in_2"]),
    billing_reason=st.sampled_from(["subscription_create", "subscription_cycle", "subscription_update", "manual"]),
    product=st.sampled_from([*POLICIES, "prod_unknown"]),
    subscription=st.sampled_from(["sub_1", "sub_2"]),
    proration=st.booleans(),
    period_start=st.sampled_from([day(-40), day(-10), day(-1)]),
    price_type=st.sampled_from(["recurring", "one_time"]),
    full_period=st.sampled_from([None, timedelta(days=30)]),
    amount=st.sampled_from([-500, 500]),
)


def _unlike(found: list[Subscription]) -> tuple[Subscription, ...]:
    return tuple({each.id: each for each in found}.values())


def _once(found: list[PaidLine]) -> tuple[PaidLine, ...]:
    return tuple({(each.invoice, each.line): each for each in found}.values())


someone = st.builds(
    lambda subscriptions, lines, shared, member_of, **more: replace(
        user(*_unlike(subscriptions), lines=_once(lines), **more),
        organization_id="org_1",
        organization_subscriptions=_unlike(shared),
        member_of=member_of,
    ),
    st.lists(_subscriptions, max_size=3),
    st.lists(_lines, max_size=4),
    shared=st.lists(_subscriptions, max_size=2),
    member_of=st.sampled_from([None, "org_1", "org_gone"]),
    role=st.sampled_from(UserRole),
    status=st.sampled_from(MembershipStatus),
    product=st.sampled_from([None, "prod_pro"]),
    tokens=st.integers(0, 3000),
    expires=st.sampled_from([None, day(-3), day(9)]),
    override=st.sampled_from([None, Override(role=UserRole.PREMIUM), Override(role=UserRole.USER, until=day(-1))]),
)
