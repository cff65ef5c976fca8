"""An explanation's sentences: one for each rule, in the words of a person."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from schema.states import UserRole
from worker.membership.rules.access import Candidate, Decision, Policy, Rule, Service
from worker.membership.rules.evidence import Customer, Entry, Note, Source
from worker.membership.rules.facts import PaidLine, Product, Subscription, User
from worker.membership.rules.next_change import Alarm, Moment
from worker.membership.rules.tokens import NoGrant

# In what a subscription is behind the best, by the first word of the preference in which they differ.
_BEHIND = {
    "role": "its product gives no PREMIUM",
    "status": "its status is less sound",
    "tokens": "its allowance is smaller",
    "created": "it is older",
    "subscription": "it is equal in all else, and its id comes later",
}
_AHEAD = {
    "role": "the product of that one gives no PREMIUM",
    "status": "the status of that one is less sound",
    "tokens": "the allowance of that one is smaller",
    "created": "that one is older",
    "subscription": "that one is equal in all else, and its id comes later",
}
_KINDS = {
    "start": "the first period of {subscription}, paid by {invoice}",
    "renewal": "a new period of {subscription}, paid by {invoice}",
    "trial": "the trial of {subscription}",
    "update": "a change of {subscription} in mid-period, by {invoice}",
    "token_period": "the next 30 days of what {invoice} paid for {subscription}",
    "pack": "a pack, paid by {invoice}",
    "refund": "a refund of {invoice}",
    "refund_failed": "a refund of {invoice} that failed",
    "dispute": "a lost dispute about {invoice}",
    "dispute_won": "a dispute about {invoice} that was won after all",
    "expiry": "the time of the balance was over",
    "extension": "the longer life of what {invoice} paid, since {subscription} entitles,",
}
_NO_GRANT = {
    NoGrant.WAITS_FOR_PRODUCT: "waits for product {product}, which Stripe has not told of yet",
    NoGrant.WAITS_FOR_PRICE: "waits for its price, which says how long the whole period is",
    NoGrant.WAITS_FOR_SUBSCRIPTION: "is for nothing, and waits for {subscription} to say whether that is a trial",
    NoGrant.NO_ALLOWANCE: "gives none: product {product} has no `tokens` in its metadata",
    NoGrant.USAGE: "gives none: it bills metered usage",
    NoGrant.CORRECTION: "gives none: changes in mid-period count under TOKEN_POLICY=add alone",
    NoGrant.TRIAL: "gives none: it is a trial's, and TRIAL_TOKENS is 0",
    NoGrant.NO_PACK: "gives none: it is neither a subscription's period nor a pack",
}
_ANNOUNCED = {
    "ends": "{subscription} is set to end, and Stripe says so when it does",
    "trial_ends": "the trial of {subscription} ends; Stripe bills the first period",
    "renews": "the period of {subscription} ends; Stripe bills the next one, and it is paid or becomes past_due",
    "payment_is_tried": "Stripe tries the open payment of {subscription} again",
    "tokens_expire": "the balance expires, unless a payment comes before",
}


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def role(
    user: User,
    decided: Decision,
    otherwise: UserRole,
    behind: Sequence[tuple[Candidate, str]],
    products: Mapping[str, Product],
    now: datetime,
    note: Note | None,
) -> str:
    if decided.role is Rule.UNTOUCHED:
        return f"{user.role} is given by people, and is never touched; what is paid would give {otherwise}."
    if decided.role is Rule.OVERRIDE:
        assert user.override is not None
        until = f"until {moment(user.override.until)}" if user.override.until else "until it is lifted"
        given = f" on {moment(note.given_at)}" + (f" ({note.text})" if note.text else "") if note else ""
        return f"An operator gave {user.override.role}{given}, {until}; what is paid would give {otherwise}."
    said = _by_product(user, decided, products) + _before(behind)
    if user.override is not None and user.override.until is not None:
        said += f" An operator's {user.override.role} ended on {moment(user.override.until)}."
    return said


def product(user: User, decided: Decision, behind: Sequence[tuple[Candidate, str]]) -> str:
    if decided.stripe_product_id is not Rule.ENTITLED:
        return _nothing(user, decided)
    best = _named(user, decided.candidates[0].subscription)
    return f"{best} is the {'best' if behind else 'one'} that gives service.{_before(behind)}"


def _by_product(user: User, decided: Decision, products: Mapping[str, Product]) -> str:
    if not decided.candidates:
        return _nothing(user, decided)
    best = decided.candidates[0]
    said = f"{_named(user, best.subscription)} is {best.subscription.status}, and product {best.item.product}"
    known = products.get(best.item.product or "")
    if known is None:
        return f"{said}, of which Stripe has not told yet, gives PREMIUM until its metadata says otherwise."
    return f"{said} gives {known.role}."


def _before(behind: Sequence[tuple[Candidate, str]]) -> str:
    return "".join(f" It comes before {other.subscription.id}: {_AHEAD[name]}." for other, name in behind)


def _nothing(user: User, decided: Decision) -> str:
    if decided.stripe_product_id is Rule.UNKNOWN_STATUS:
        return _unknown(user)
    return f"No subscription gives service{_statuses(user)}."


def membership_status(user: User, decided: Decision) -> str:
    if decided.membership_status is Rule.UNKNOWN_STATUS:
        return _unknown(user)
    if decided.membership_status is Rule.MEMBERSHIP_ENDED:
        return f"The membership by organization {user.member_of} is over{_statuses(user)}."
    best = decided.standing_of
    if best is None:
        return "There never was a subscription, so it stays as it is."
    paused = f" for {best.paused_for}" if best.paused_for else ""
    count = len(user.every_subscription)
    among = f", the best of {count}" if count > 1 else ""
    return f"{_named(user, best)} is {best.status}{paused}, which means {decided.access.membership_status}{among}."


def _unknown(user: User) -> str:
    return f"Nothing gives service, and a status is none that we know{_statuses(user)}: what was stays."


def _statuses(user: User) -> str:
    if not user.every_subscription:
        return ": there is none"
    ordered = sorted(user.every_subscription, key=lambda each: each.id)
    return ": " + ", ".join(f"{_named(user, each)} is {each.status}" for each in ordered)


def _named(user: User, subscription: Subscription) -> str:
    """With the organization, where it is that which makes the subscription count for the user."""
    is_own = any(own.id == subscription.id for own in user.subscriptions)
    return subscription.id if is_own else f"{subscription.id} of organization {user.organization_id}"


def not_computed(customers: Sequence[Customer]) -> str:
    if customers:
        waiting = ", ".join(customer.id for customer in customers)
        return f"The application linked {waiting}, of whom Stripe has told nothing yet, so nothing is computed."
    return "No customer is linked, and no organization is paid for: nothing is computed, the row stays as it is."


def standing(subscription: Subscription, service: Service, policy: Policy, behind: str | None, best: str | None) -> str:
    """What a subscription gives, and where it is not the best, in what it is behind."""
    if service is Service.UNKNOWN_STATUS:
        return "gives nothing by itself: its status is none that we know"
    if service is Service.NONE:
        return "gives no service"
    if service is Service.GRACE_OVER:
        assert subscription.period_start is not None
        assert policy.past_due_grace is not None
        return f"gives no service: the grace ended on {moment(subscription.period_start + policy.past_due_grace)}"
    said = "gives service"
    if service is Service.PAST_DUE:
        said += " until Stripe gives it up (PAST_DUE_GRACE_DAYS is not set)"
    elif service is Service.IN_GRACE:
        assert subscription.period_start is not None
        assert policy.past_due_grace is not None
        said += f" in its grace, until {moment(subscription.period_start + policy.past_due_grace)}"
    if not any(item.product for item in subscription.items):
        return f"{said}, but none of its items names a product"
    return f"{said}, behind {best}: {_BEHIND[behind]}" if behind else said


def balance(user: User, last: Entry | None, *, is_over: bool) -> str:
    if last is None:
        return "The daemon never changed it." if user.tokens else "Nothing was granted yet."
    said = f"{entry(last)} left {last.balance_after:,} on {moment(last.created_at)}"
    if user.tokens < last.balance_after:
        said += f"; {last.balance_after - user.tokens:,} were spent since"
    elif user.tokens > last.balance_after:
        said += f"; {user.tokens - last.balance_after:,} were added since by somebody else"
    else:
        said += "; nothing was spent since"
    if is_over and user.tokens:
        said += ". Its time is over: it reads as 0, and is about to be set to 0"
    return f"{said[0].upper()}{said[1:]}."


def entry(row: Entry) -> str:
    """What a row of the ledger was for."""
    words = _KINDS.get(row.kind, row.kind)
    return words.format(subscription=row.subscription or "a subscription", invoice=row.invoice or row.source_key)


def ungranted(line: PaidLine, why: NoGrant) -> str:
    words = _NO_GRANT[why].format(product=line.product, subscription=line.subscription)
    return f"{line.invoice}{' line ' + line.line if line.line else ''} {words}"


def alarm(of: Moment) -> str:
    if of.alarm is Alarm.OVERRIDE_ENDS:
        return "the operator's override ends"
    if of.alarm is Alarm.GRACE_ENDS:
        return f"the grace of {of.subscription} ends, unless it is paid before"
    return "the next 30 days of what was paid for longer than a month begin, with their tokens"


def announced(what: str, subscription: str | None) -> str:
    return _ANNOUNCED[what].format(subscription=subscription)


def policy(of: Product | None) -> str:
    """What a product's metadata says."""
    if of is None:
        return "not known yet: PREMIUM, and its tokens wait for it"
    return f"{of.role}, {of.tokens:,} tokens a period" if of.tokens else f"{of.role}, no tokens"


def source(of: Source | None) -> str:
    """Where the mirror has an object from."""
    if of is None:
        return "not in the mirror"
    heard = of.event
    if of.read is not None:
        how = "read from Stripe" if of.read == "get" else "read from Stripe's list"
        said = f"{how} at {moment(of.observed_at)}"
        said += f", last told of by {heard.type} {heard.id}" if heard else ""
    elif heard is not None and heard.created is not None and heard.received_at is not None:
        said = f"told by {heard.type} {heard.id} of {moment(heard.created)}, received at {moment(heard.received_at)}"
    else:
        said = f"told by {heard.id if heard else 'an event'}, which the inbox does not hold any more"
    return said + ("; uncertain, Stripe is being asked" if of.uncertain else "")
