"""Users and facts about them, as plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from schema.states import MembershipStatus, UserRole
from worker.membership.rules.access import KNOWN_STATUSES, Access
from worker.membership.rules.balance import Grant
from worker.membership.rules.facts import Item, Override, PaidLine, Periods, Product, Subscription, User
from worker.membership.rules.tokens import PERIODS, source_key

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
    """The time `number` days after NOW, or before it if negative."""
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
    made = Item(id=f"si_{id}", price="price_1", product=product, created=created)
    candidates = (made,) if items is None else tuple(items)
    return Subscription(
        id=id,
        status=status,
        created=created,
        period_start=period_start,
        period_end=period_end,
        paused_for=paused_for,
        trial_end=trial_end,
        items=candidates,
    )


def line(
    id: str = "il_1",
    *,
    invoice: str = "in_1",
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
    """A line of a paid invoice for a monthly price, paid when its period began unless `paid_at` is given.

    The line bills the item that `subscribed` gives the subscription.
    """
    facts: dict[str, Any] = {
        "price": "price_1",
        "price_type": "recurring",
        "amount": 2000,
        "full_period": timedelta(days=30),
        "is_whole": not proration,
    } | more
    return PaidLine(
        invoice=invoice,
        line=id,
        product=product,
        subscription=subscription,
        quantity=quantity,
        proration=proration,
        period_start=period_start,
        period_end=period_end,
        paid_at=paid_at or period_start,
        item=item or (f"si_{subscription}" if subscription else None),
        **facts,
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
    """The user after the access is written."""
    return replace(
        of,
        role=access.role,
        membership_status=access.membership_status,
        stripe_product_id=access.stripe_product_id,
    )


def holding(of: User, granted: Sequence[Grant]) -> User:
    """The user after the grants were added to the ledger, its periods and the balance."""
    if not granted:
        return of
    keys = {grant.source_key for grant in granted}
    identities = {(grant.invoice, grant.identity) for grant in granted if grant.identity}
    periods = dict(of.periods)
    for grant in granted:
        if grant.kind in PERIODS and grant.owner is not None and grant.period_start is not None:
            held = periods.get(grant.owner, Periods(grant.period_start, None))
            newest, bill = held.newest, held.bill
            if newest is None or newest <= grant.period_start:
                newest, bill = grant.period_start, grant.invoice
            starts = held.starts | {grant.period_start}
            periods[grant.owner] = Periods(min(held.first, grant.period_start), newest, bill, starts)
    return replace(
        of,
        tokens=granted[-1].balance_after,
        tokens_expires_at=granted[-1].expires_at,
        paid_lines=tuple(
            each
            for each in of.paid_lines
            if source_key(each) not in keys and (each.invoice, each.identity) not in identities
        ),
        periods=periods,
        last_key=granted[-1].source_key,
        lots=granted[-1].lots,
        history=granted[-1].history,
        renewed=of.renewed | {grant.source_key for grant in granted if grant.kind in ("token_period", "undone")},
    )


# Random users

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
    product=st.sampled_from([*POLICIES, "prod_unknown"]),
    subscription=st.sampled_from(["sub_1", "sub_2"]),
    proration=st.booleans(),
    period_start=st.sampled_from([day(-40), day(-10), day(-1)]),
    price_type=st.sampled_from(["recurring", "one_time", None]),
    full_period=st.sampled_from([None, timedelta(days=30)]),
    amount=st.sampled_from([-500, 0, 500]),
    is_credit=st.booleans(),
    is_whole=st.booleans(),
)


def _unlike(candidates: list[Subscription]) -> tuple[Subscription, ...]:
    return tuple({each.id: each for each in candidates}.values())


def _once(candidates: list[PaidLine]) -> tuple[PaidLine, ...]:
    return tuple({(each.invoice, each.line): each for each in candidates}.values())


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
