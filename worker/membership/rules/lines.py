"""The kinds of paid lines: the table that decides which lines give tokens.

The traits of a line decide, never the `billing_reason` of its invoice. Stripe uses one reason for different things:
`subscription_update` may be an upgrade, a switch of interval or the early end of a trial. Each combination of traits
matches exactly one row.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.membership.rules.facts import Item, PaidLine, Subscription, User

# The first line of an item may begin a moment after the item was added.
_TOLERANCE = timedelta(minutes=5)


class Price(enum.StrEnum):
    """The kind of the line's price. NONE: the line has an amount but names no price."""

    ONE_TIME = "one_time"
    METERED = "metered"
    LICENSED = "licensed"
    UNKNOWN = "unknown"
    NONE = "none"


class Answer(enum.StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Gives(enum.StrEnum):
    """The effect of a table row on the balance."""

    PACK = "pack"
    PERIOD = "period"
    TRIAL = "trial"
    CHANGE = "change"
    NOTHING = "nothing"
    WAITS = "waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """The traits of a line.

    `trial`: the line costs nothing and begins within the trial. `credit`: it gives money back. `whole`: it covers the
    whole billing interval of its price. `first`: it is the first line of its item.
    """

    price: Price
    trial: Answer
    proration: bool
    credit: bool
    whole: bool
    first: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table. A trait that is None is ignored."""

    name: str
    gives: Gives
    price: Price
    trial: Answer | None = None
    proration: bool | None = None
    credit: bool | None = None
    whole: bool | None = None
    first: Answer | None = None
    meaning: str

    def matches(self, traits: Traits) -> bool:
        return all(
            wanted is None or getattr(traits, name) == wanted
            for name, wanted in (
                ("price", self.price),
                ("trial", self.trial),
                ("proration", self.proration),
                ("credit", self.credit),
                ("whole", self.whole),
                ("first", self.first),
            )
        )


_NO = Answer.NO
TABLE = (
    Row(
        name="pack",
        gives=Gives.PACK,
        price=Price.ONE_TIME,
        meaning="A one-time price is a pack, on any invoice. Renewals do not change it.",
    ),
    Row(name="usage", gives=Gives.NOTHING, price=Price.METERED, meaning="Metered usage gives no tokens."),
    Row(
        name="unknown_price",
        gives=Gives.WAITS,
        price=Price.UNKNOWN,
        meaning="The price is not mirrored yet. The line waits for it.",
    ),
    Row(
        name="no_price",
        gives=Gives.NOTHING,
        price=Price.NONE,
        meaning="An amount without a price belongs to no product.",
    ),
    Row(
        name="unknown_subscription",
        gives=Gives.WAITS,
        price=Price.LICENSED,
        trial=Answer.UNKNOWN,
        meaning="The line costs nothing and its subscription is not mirrored yet. It waits, because it may belong to a trial.",
    ),
    Row(
        name="trial",
        gives=Gives.TRIAL,
        price=Price.LICENSED,
        trial=Answer.YES,
        meaning="A line that costs nothing and begins within the trial gives TRIAL_TOKENS, even if the trial was cut short.",
    ),
    Row(
        name="period",
        gives=Gives.PERIOD,
        price=Price.LICENSED,
        trial=_NO,
        proration=False,
        meaning="A recurring line that is not a proration begins a period of its item.",
    ),
    Row(
        name="credit",
        gives=Gives.CHANGE,
        price=Price.LICENSED,
        trial=_NO,
        proration=True,
        credit=True,
        meaning="A proration that gives money back takes back its share of the allowance, by time.",
    ),
    Row(
        name="whole_period",
        gives=Gives.PERIOD,
        price=Price.LICENSED,
        trial=_NO,
        proration=True,
        credit=False,
        whole=True,
        meaning="A proration that covers a whole interval begins a period, because the billing anchor has moved.",
    ),
    Row(
        name="unknown_item",
        gives=Gives.WAITS,
        price=Price.LICENSED,
        trial=_NO,
        proration=True,
        credit=False,
        whole=False,
        first=Answer.UNKNOWN,
        meaning="The subscription is not mirrored yet, so the line may be the first of its item or a change. It waits.",
    ),
    Row(
        name="stub",
        gives=Gives.PERIOD,
        price=Price.LICENSED,
        trial=_NO,
        proration=True,
        credit=False,
        whole=False,
        first=Answer.YES,
        meaning="The first line of an item, up to a later billing anchor, gives its share of the allowance, by time.",
    ),
    Row(
        name="charge",
        gives=Gives.CHANGE,
        price=Price.LICENSED,
        trial=_NO,
        proration=True,
        credit=False,
        whole=False,
        first=_NO,
        meaning="Every other proration adds its share of the allowance, by time.",
    ),
)


def row_of(line: PaidLine, user: User) -> Row:
    """The row of the table that matches the line."""
    traits = traits_of(line, user)
    return next(row for row in TABLE if row.matches(traits))


def traits_of(line: PaidLine, user: User) -> Traits:
    """The traits of the line. Traits that need an object which is not mirrored yet are UNKNOWN."""
    subscription = next((each for each in user.subscriptions if each.id == line.subscription), None)
    item = _item(line, subscription)
    return Traits(
        price=_price(line),
        trial=_trial(line, subscription),
        proration=line.proration,
        credit=_is_credit(line, item),
        whole=line.is_whole,
        first=_first(line, subscription, item),
    )


def _price(line: PaidLine) -> Price:
    if line.is_checkout or line.price_type == "one_time":
        return Price.ONE_TIME
    if line.usage_type == "metered":
        return Price.METERED
    if line.price_type is None:
        return Price.NONE if line.price is None else Price.UNKNOWN
    return Price.LICENSED


def _trial(line: PaidLine, subscription: Subscription | None) -> Answer:
    if line.subscription is None or line.amount != 0:
        return Answer.NO
    if subscription is None:
        return Answer.UNKNOWN
    end = subscription.trial_end
    begun = subscription.trial_start is None or line.period_start >= subscription.trial_start
    return Answer.YES if end is not None and begun and line.period_start < end else Answer.NO


def _is_credit(line: PaidLine, item: Item | None) -> bool:
    """Whether the line gives money back.

    A proration that costs nothing and whose invoice shows no direction is a credit if its item now has another price.
    The first line of an item is never a credit.
    """
    if not line.proration or line.amount != 0 or line.is_credit is not None:
        return line.proration and line.is_credit is True
    if item is None or line.price is None or _is_early(line, item.created):
        return False
    return item.price != line.price


def _first(line: PaidLine, subscription: Subscription | None, item: Item | None) -> Answer:
    # A line beside a credit replaces what the credit gives back, even if the item is only seconds old.
    if line.subscription is None or line.has_credit:
        return Answer.NO
    if subscription is None:
        return Answer.UNKNOWN
    since = item.created if item is not None else None
    return Answer.YES if _is_early(line, since or subscription.created) else Answer.NO


def _is_early(line: PaidLine, created: datetime | None) -> bool:
    """Whether the line begins when its item was added."""
    return created is not None and line.period_start <= created + _TOLERANCE


def _item(line: PaidLine, subscription: Subscription | None) -> Item | None:
    if subscription is None or line.item is None:
        return None
    return next((item for item in (*subscription.items, *subscription.removed) if item.id == line.item), None)
