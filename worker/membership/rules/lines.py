"""The kinds of paid lines: the table that decides which lines give tokens.

A line's own nature decides, never its invoice's reason: Stripe uses one reason for many things (`subscription_update` is an
upgrade, a switch of interval, the early end of a trial). Each combination of traits falls into exactly one row.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.membership.rules.facts import Item, PaidLine, Subscription, User

# An item is added a moment before its first line begins.
_TOLERANCE = timedelta(minutes=5)


class Price(enum.StrEnum):
    """The kind of the line's price. NONE: the line names no price, an amount alone."""

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
    """All traits in the table.

    `trial`: it costs nothing and begins within the trial. `credit`: it gives money back. `whole`: it covers the whole
    interval of its price. `first`: it is the first line of its item.
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
        meaning="A one-time price is a pack, on whatever invoice it stands. No renewal touches it.",
    ),
    Row(name="usage", gives=Gives.NOTHING, price=Price.METERED, meaning="Metered usage gives no tokens."),
    Row(
        name="unknown_price",
        gives=Gives.WAITS,
        price=Price.UNKNOWN,
        meaning="The price is not mirrored yet: the line waits for it, and nothing is guessed.",
    ),
    Row(name="no_price", gives=Gives.NOTHING, price=Price.NONE, meaning="An amount without a price sells no product."),
    Row(
        name="unknown_subscription",
        gives=Gives.WAITS,
        price=Price.LICENSED,
        trial=Answer.UNKNOWN,
        meaning="The line costs nothing and its subscription is not mirrored yet: it may be a trial's, so it waits.",
    ),
    Row(
        name="trial",
        gives=Gives.TRIAL,
        price=Price.LICENSED,
        trial=Answer.YES,
        meaning="A line that costs nothing and begins within the trial gives TRIAL_TOKENS, also if the trial was cut short.",
    ),
    Row(
        name="period",
        gives=Gives.PERIOD,
        price=Price.LICENSED,
        trial=_NO,
        proration=False,
        meaning="A recurring line that is no proration begins a period of its item.",
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
        meaning="A proration that covers a whole interval begins a period: the billing anchor moved.",
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
        meaning="The subscription is not mirrored yet: whether this is its first line or a change is not known, so it waits.",
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
        meaning="The first line of an item whose billing anchor lies later gives its share of the allowance, by time.",
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
    """The one row of the table for the line."""
    traits = traits_of(line, user)
    return next(row for row in TABLE if row.matches(traits))


def traits_of(line: PaidLine, user: User) -> Traits:
    """The line's traits, as far as the mirror has them."""
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
    """Without other evidence, a line that costs nothing is a credit if its item has changed since.

    An item's first line is not.
    """
    if not line.proration or line.amount != 0 or line.is_credit is not None:
        return line.proration and line.is_credit is True
    if item is None or line.price is None or _is_early(line, item.created):
        return False
    return item.price != line.price


def _first(line: PaidLine, subscription: Subscription | None, item: Item | None) -> Answer:
    if line.subscription is None:
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
