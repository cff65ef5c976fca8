"""The sentences of an explanation: one for each rule."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from worker.membership.rules.access import Candidate, Decision, Policy, Rule, Service, access_until, grace_ends
from worker.membership.rules.evidence import Customer, Elsewhere, Entry, Note, Source, Unlinked
from worker.membership.rules.facts import LIFETIME, MOST_TOKENS, Feature, PaidLine, Product, Subscription, User
from worker.membership.rules.features import OVERRIDE
from worker.membership.rules.lines import Row
from worker.membership.rules.next_change import Cause, Moment
from worker.membership.rules.outcome import Change
from worker.membership.rules.tokens import NoGrant

# Why a subscription is not the best one, by the first criterion in which the two differ.
_BEHIND = {
    "role": "its product does not give PREMIUM",
    "status": "its status is worse",
    "tokens": "its allowance is smaller",
    "created": "it is older",
    "subscription": "they are equal, and its id sorts later",
}
_AHEAD = {
    "role": "whose product does not give PREMIUM",
    "status": "whose status is worse",
    "tokens": "whose allowance is smaller",
    "created": "which is older",
    "subscription": "which is equal except for its id",
}
_KINDS = {
    "start": "the first period of {subscription}, paid by {invoice}",
    "renewal": "a new period of {subscription}, paid by {invoice}",
    "stub": "a part of a period of {subscription}, paid by {invoice}",
    "trial": "the trial of {subscription}",
    "update": "a change of {subscription} within its period, billed by {invoice}",
    "token_period": "the next 30 days of {subscription}, paid by {invoice}",
    "undone": "a correction of 30 days paid by {invoice}, because a change became known late,",
    "pack": "a pack, paid by {invoice}",
    "refund": "a refund of {invoice}",
    "refund_failed": "a refund of {invoice} that failed",
    "credit_note": "a credit note for {invoice}",
    "credit_note_void": "a credit note for {invoice} that was voided",
    "charge": "a refund of {invoice} that only its charge reports,",
    "dispute": "a lost dispute about {invoice}",
    "dispute_won": "a dispute about {invoice} that was won after all",
    "ended": "{invoice}, whose period gives no tokens and ends the previous allowance,",
    "expiry": "the expiry of the balance",
    "extension": "an extension of the tokens of {invoice}, because {subscription} still gives service,",
}
_NO_GRANT = {
    NoGrant.WAITS_FOR_PRODUCT: "waits for product {product}, which is not mirrored yet",
    NoGrant.WAITS_FOR_PRICE: "waits for price {price}, which is not mirrored yet",
    NoGrant.WAITS_FOR_SUBSCRIPTION: "waits for {subscription}, which is not mirrored yet",
    NoGrant.WAITS_FOR_PERIOD: "waits for the invoice of the period that it changes",
    NoGrant.WAITS_FOR_CHANGE: "waits for the rest of its change: another line or the changed item is not mirrored yet",
    NoGrant.NO_ALLOWANCE: "gives none: product {product} has no `tokens` in its metadata",
    NoGrant.NO_QUANTITY: "gives none: its quantity is 0",
    NoGrant.USAGE: "gives none: it bills metered usage",
    NoGrant.TRIAL: "gives none: it belongs to a trial, and TRIAL_TOKENS is 0",
    NoGrant.NO_PRICE: "gives none: it is an amount without a price or product",
}
_ANNOUNCED = {
    "ends": "{subscription} is set to end; Stripe will report its end",
    "trial_ends": "the trial of {subscription} ends; Stripe bills the first period",
    "renews": "the period of {subscription} ends; Stripe bills the next one, and it is paid or becomes past_due",
    "payment_is_tried": "Stripe tries the open payment of {subscription} again",
    "tokens_expire": "the balance expires, unless a payment comes first",
}


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def value(of: object) -> str:
    """The value of a column as text."""
    if isinstance(of, datetime):
        return moment(of)
    if isinstance(of, tuple):
        return ", ".join(sorted({each.feature for each in of})) or "none"
    return "none" if of is None else f"{of:,}" if isinstance(of, int) else str(of)


def change(column: str, values: Change) -> str:
    """The change of a column as text. If only sources or ends of features changed, each feature is shown with both."""
    old, new = values
    if not isinstance(old, tuple) or not isinstance(new, tuple):
        return f"{column} {value(old)} -> {value(new)}"
    names = [value(held) for held in (old, new)]
    if names[0] == names[1]:
        names = [", ".join(f"{each.feature} ({ends(each)})" for each in held) for held in (old, new)]
    return f"{column} {names[0]} -> {names[1]}"


def ends(of: Feature) -> str:
    """The source of a feature and its end as text."""
    return f"{of.source} until {moment(of.until)}" if of.until else of.source


def feature(of: Feature, user: User, products: Mapping[str, Product]) -> str:
    """A sentence that names the source of a feature."""
    until = f", until {moment(of.until)}" if of.until else ""
    if of.source == OVERRIDE:
        return f"An operator gave it{until}."
    for subscription in user.every_subscription:
        if subscription.id == of.source:
            giving = sorted(
                {item.product or "" for item in subscription.items if _gives(products.get(item.product or ""), of)}
            )
            by = f", product {' and '.join(giving)}" if giving else ""
            return f"{_named(user, subscription)} gives it{by}{until}."
    bought = sorted({each.product for each in user.purchases if each.source == of.source})
    return f"{of.source} bought {' and '.join(bought)} once{until}." if bought else f"{of.source} gave it{until}."


def _gives(product: Product | None, of: Feature) -> bool:
    return product is not None and of.feature in product.features


def role(
    user: User,
    decided: Decision,
    otherwise: str,
    behind: Sequence[tuple[Candidate, str]],
    products: Mapping[str, Product],
    now: datetime,
    note: Note | None,
) -> str:
    if decided.role is Rule.UNTOUCHED:
        return f"{user.role} is set by hand and never changed here; payments alone would give {otherwise}."
    if decided.role is Rule.OVERRIDE:
        assert user.override is not None
        until = f"until {moment(user.override.until)}" if user.override.until else "until the override is removed"
        given = f" on {moment(note.given_at)}" + (f" ({note.text})" if note.text else "") if note else ""
        return f"An operator gave {user.override.role}{given}, {until}; payments alone would give {otherwise}."
    if decided.role is Rule.PURCHASED:
        text = _by_purchase(decided, products)
    else:
        text = _by_product(user, decided, products) + _before(behind)
    if user.override is not None and user.override.until is not None:
        text += f" An operator's {user.override.role} ended on {moment(user.override.until)}."
    return text


def product(user: User, decided: Decision, behind: Sequence[tuple[Candidate, str]]) -> str:
    if decided.stripe_product_id is Rule.PURCHASED:
        assert decided.purchase is not None
        return f"No subscription gives service; {decided.purchase.source} bought {decided.purchase.product} once."
    if decided.stripe_product_id is not Rule.ENTITLED:
        return _nothing(user, decided)
    best = _named(user, decided.candidates[0].subscription)
    return f"{best} is the {'best' if behind else 'one'} that gives service.{_before(behind)}"


def _by_product(user: User, decided: Decision, products: Mapping[str, Product]) -> str:
    if not decided.candidates:
        return _nothing(user, decided)
    best = decided.candidates[0]
    text = f"{_named(user, best.subscription)} is {best.subscription.status}, and product {best.item.product}"
    known = products.get(best.item.product or "")
    if known is None:
        return f"{text}, which is not mirrored yet, gives PREMIUM until its metadata is known."
    return f"{text} gives {known.role}{unclear(known)}."


def _by_purchase(decided: Decision, products: Mapping[str, Product]) -> str:
    assert decided.purchase is not None
    bought = products[decided.purchase.product]
    until = access_until(decided.purchase, products)
    lasts = "for life" if bought.access == LIFETIME or until is None else f"until {moment(until)}"
    return f"{decided.purchase.source} bought product {bought.id} once, which gives {bought.role} {lasts}."


_READABLE = {
    "role": "USER or PREMIUM",
    "tokens": "a whole number",
    "access": "`lifetime` or a number of days",
    "features": "names with commas between them, or a JSON array of strings",
}


def unreadable(product: Product) -> str:
    """The metadata keys of the product whose values cannot be read, and how to write them."""
    return "; ".join(f"metadata `{key}` cannot be read: write {_READABLE[key]}" for key in product.unclear)


def unclear(product: Product) -> str:
    """The unreadable metadata as ` (...)`; empty if all of it can be read."""
    if not product.unclear:
        return ""
    keys = " and ".join(f"`{key}`" for key in product.unclear)
    return f" (its metadata {keys} cannot be read, so the least is assumed)"


def _before(behind: Sequence[tuple[Candidate, str]]) -> str:
    return "".join(f" It comes before {other.subscription.id}, {_AHEAD[name]}." for other, name in behind)


def _nothing(user: User, decided: Decision) -> str:
    if decided.stripe_product_id is Rule.UNKNOWN_STATUS:
        return _unknown(user)
    return f"No subscription gives service{_statuses(user)}."


def membership_status(user: User, decided: Decision) -> str:
    if decided.membership_status is Rule.UNKNOWN_STATUS:
        return _unknown(user)
    if decided.membership_status is Rule.MEMBERSHIP_ENDED:
        return f"The membership through organization {user.member_of} has ended{_statuses(user)}."
    best = decided.standing_of
    if best is None:
        return "The user never had a subscription, so the status stays as it is."
    paused = f" for {best.paused_for}" if best.paused_for else ""
    count = len(user.every_subscription)
    among = f", the best of {count}" if count > 1 else ""
    return f"{_named(user, best)} is {best.status}{paused}, which means {decided.access.membership_status}{among}."


def _unknown(user: User) -> str:
    return f"Nothing gives service, and a status is unknown{_statuses(user)}: everything stays as it was."


def _statuses(user: User) -> str:
    if not user.every_subscription:
        return ": there is none"
    ordered = sorted(user.every_subscription, key=lambda each: each.id)
    return ": " + ", ".join(f"{_named(user, each)} is {each.status}" for each in ordered)


def _named(user: User, subscription: Subscription) -> str:
    """The id of the subscription. For a subscription of the organization, the id with the organization."""
    is_own = any(own.id == subscription.id for own in user.subscriptions)
    return subscription.id if is_own else f"{subscription.id} of organization {user.organization_id}"


def not_computed(customers: Sequence[Customer]) -> str:
    if customers:
        waiting = ", ".join(customer.id for customer in customers)
        return f"The application linked {waiting}, which Stripe has not sent yet, so nothing is computed."
    return "No customer is linked and no organization has a subscription, so nothing is computed and the row stays as it is."


def unlinked(customer: Unlinked, user: str) -> str:
    """Explain why a customer with the user's e-mail is not linked to the user."""
    command = f"`stripe-sync link {customer.id} {user}` links it"
    if customer.verified == 1:
        return "has the same e-mail and is about to be linked to the user who has verified it"
    if customer.verified:
        return f"has the same e-mail, and {customer.verified} users have verified it: {command}"
    return f"has the same e-mail, and the user has not verified it: {command}"


def elsewhere(customer: Elsewhere) -> str:
    """The account of a customer of a connected account, and what that means for the user."""
    known = customer.status or "status unknown"
    return f"of the account {customer.account} ({known}): only customers of our own account give access or tokens"


def standing(subscription: Subscription, service: Service, policy: Policy, behind: str | None, best: str | None) -> str:
    """The service that a subscription gives. If it is not the best subscription, also the reason."""
    if service is Service.UNKNOWN_STATUS:
        return "gives nothing by itself: its status is unknown"
    if service is Service.NONE:
        return "gives no service"
    if service is Service.GRACE_OVER:
        ended = grace_ends(subscription, policy)
        assert ended is not None
        return f"gives no service: the grace ended on {moment(ended)}"
    text = "gives service"
    if service is Service.PAST_DUE:
        text += " until Stripe ends it (PAST_DUE_GRACE_DAYS is not set)"
    elif service is Service.IN_GRACE:
        ends = grace_ends(subscription, policy)
        assert ends is not None
        text += f" in its grace, until {moment(ends)}"
    if not any(item.product for item in subscription.items):
        return f"{text}, but none of its items names a product"
    return f"{text}, behind {best}: {_BEHIND[behind]}" if behind else text


def balance(user: User, last: Entry | None, *, is_over: bool) -> str:
    if last is None:
        return "The daemon never changed it." if user.tokens else "Nothing was granted yet."
    text = f"{entry(last)} left {last.balance_after:,} on {moment(last.created_at)}"
    if user.tokens < last.balance_after:
        text += f"; {last.balance_after - user.tokens:,} were spent since"
    elif user.tokens > last.balance_after:
        text += f"; {user.tokens - last.balance_after:,} were added since, but not by the daemon"
    else:
        text += "; nothing was spent since"
    if user.tokens == user.most_tokens:
        text += "; this is the largest possible balance"
        if user.most_tokens < MOST_TOKENS:
            text += ", because the application's column is smaller than bigint"
    if is_over and user.tokens:
        text += ". It has expired: it reads as 0 and is about to be set to 0"
    return f"{text[0].upper()}{text[1:]}."


def entry(row: Entry) -> str:
    """The purpose of a row of the ledger."""
    words = _KINDS.get(row.kind, row.kind)
    return words.format(subscription=row.subscription or "a subscription", invoice=row.invoice or row.source_key)


def ungranted(line: PaidLine, why: NoGrant, row: Row, product: Product | None) -> str:
    words = _NO_GRANT[why].format(product=line.product, subscription=line.subscription, price=line.price)
    if why is NoGrant.NO_ALLOWANCE and product is not None and "tokens" in product.unclear:
        words = f"gives none: product {product.id}: {unreadable(product)}"
    return f"{line.invoice}{' line ' + line.line if line.line else ''} ({row.name}) {words}"


def cause(of: Moment) -> str:
    if of.cause is Cause.OVERRIDE_ENDS:
        return "the operator's override ends"
    if of.cause is Cause.GRACE_ENDS:
        return f"the grace of {of.subscription} ends, unless the invoice is paid first"
    if of.cause is Cause.FEATURE_ENDS:
        return "a feature that an operator gave ends"
    if of.cause is Cause.ACCESS_ENDS:
        return "the access of a one-time purchase ends"
    return "the next 30 days of a longer paid period begin and give their tokens"


def announced(what: str, subscription: str | None) -> str:
    return _ANNOUNCED[what].format(subscription=subscription)


def policy(of: Product | None) -> str:
    """The policy in a product's metadata as text."""
    if of is None:
        return "not mirrored yet: it gives PREMIUM, and its tokens wait until it is mirrored"
    gives = f"{of.role}, {of.tokens:,} tokens a period" if of.tokens else f"{of.role}, no tokens"
    if of.features:
        gives += f", features {', '.join(of.features)}"
    return gives + unclear(of)


def source(of: Source | None) -> str:
    """The source of a mirrored object as text."""
    if of is None:
        return "not in the mirror"
    heard = of.event
    if of.read is not None:
        how = "read from Stripe" if of.read == "get" else "read from Stripe's list"
        text = f"{how} at {moment(of.observed_at)}"
        text += f", last event {heard.type} {heard.id}" if heard else ""
    elif heard is not None and heard.created is not None and heard.received_at is not None:
        text = f"from {heard.type} {heard.id} of {moment(heard.created)}, received at {moment(heard.received_at)}"
    else:
        text = f"from {heard.id if heard else 'an event'}, which the inbox no longer holds"
    return text + ("; uncertain, so it will be read from Stripe again" if of.uncertain else "")
