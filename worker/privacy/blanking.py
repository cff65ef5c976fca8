"""Blank the personal data in Stripe's objects.

The rule lists the values that stay, so unknown fields are blanked. Numbers, booleans, Stripe's ids and times stay, and so
do Stripe's words (`active`, `usd`) under keys that are known to hold such a word. Every other text becomes null. Amounts,
dates, states and references therefore stay, while names, addresses, card numbers, links and notes are removed.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from worker.mirror.fold import Observation
from worker.mirror.version import content_hash, put_back
from worker.stripe_api.json_paths import Json, at, reference

# Objects of the catalogue are not personal. They are embedded in subscriptions and invoices, and stay unchanged.
_CATALOGUE = frozenset({"product", "price", "plan", "coupon", "tax_rate", "shipping_rate"})

# Keys of numbers that identify a person or a card. They are removed with everything below them.
_NEVER = frozenset({"dob", "date_of_birth", "exp_month", "exp_year", "latitude", "longitude"})

# Metadata may hold anything. The daemon reads these keys; a plain id or number under them stays.
_POLICY = frozenset({"user_id", "userId", "organization_id", "tokens", "role", "product", "quantity", "seats"})

# Keys whose text is one of Stripe's words in every object type: lower case, without spaces.
_WORDS = frozenset({
    "account", "api_version", "balance_type", "behavior", "billing_reason", "billing_scheme", "brand", "cancellation_reason",
    "capture_method", "category", "collection_method", "confirmation_method", "currency", "decline_code",
    "default_currency", "direction", "disabled_reason", "display_brand", "duration", "failure_code",
    "failure_reason", "feedback", "feedback_option", "flow", "funding", "interval", "kind",
    "missing_payment_method", "mode", "network", "network_status", "object", "outcome", "payment_behavior",
    "payment_method_collection", "payment_method_type", "payment_method_types", "payment_status",
    "pending_invoice_item_interval", "preferred", "presentment_currency", "proration_behavior",
    "proration_discounts", "provider", "purpose", "reason", "refund_application_method", "regulated_status",
    "reporting_category", "risk_level", "save_default_payment_method", "scheme", "setup_future_usage", "status",
    "submit_type", "tax_behavior", "tax_exempt", "taxability_reason", "type", "ui_mode", "usage", "usage_type",
})  # fmt: skip
# Keys whose text is a name that the account gave to one of its objects.
_NAMES = frozenset({
    "client_reference_id", "coupon", "coupon_code", "id", "invoice_prefix", "lookup_key", "plan", "price",
    "product", "promotion_code",
})  # fmt: skip

_WORD = re.compile(r"[a-z0-9_.\-]{1,80}")
_PLAIN = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[0-9:.]+(Z|[+-]\d{2}:\d{2})")
_DECIMAL = re.compile(r"-?\d+(\.\d+)?")
_NUMBER = re.compile(r"(?=.*[A-Z])[A-Z0-9]+(-[A-Z0-9]+)+")
_OWN_PATH = re.compile(r"/v[12]/[A-Za-z0-9_/.?=&]+")
_ID = re.compile(
    r"(acct|ba|balance|bpc|bps|btok|ca|card|cbtxn|ch|clock|cn|cnli|credgr|cs|cus|cuss|di|dp|du|du_test|evt|ext|fee|file|fr|"
    r"gcus|ii|ilcp|il|in|inpay|it|li|link|mandate|mtr|oi|or|payatt|pfx|pi|plink|pm|po|prv|promo|prod|price|plan|py|pyr|"
    r"qt|re|req|rvl|seti|setatt|si|sli|src|sub|sub_sched|taxrate|tax|tml|tr|trr|tu|txcd|txi|txn|txr|upcoming_in|vs|we)"
    r"_(?!.*_secret_)[A-Za-z0-9_]{1,255}"
)

# These fields name an object's owners. If a customer is named, the other fields are ignored.
_CUSTOMER = at("customer", "customer_account")
_OWNERS = tuple(
    at(path)
    for path in (
        "charge", "payment_intent", "invoice", "subscription", "source", "source_transaction", "payment_method",
        "setup_intent", "checkout_session", "payment.payment_intent", "payment.charge",
        "parent.subscription_details.subscription",
    )
)  # fmt: skip
_USER = at("metadata.user_id", "metadata.userId")


def owners(id_: str, obj: Json) -> list[str]:
    """The ids that decide whether the object belongs to a person: its own id and its customer's id.

    Without a customer, its own id and the ids of its other owners.
    """
    customer = reference(_CUSTOMER(obj))
    ids = [id_, customer] if customer else [id_, *(reference(read(obj)) for read in _OWNERS)]
    return [owner for owner in ids if owner]


def user_named(obj: Json) -> str | None:
    """The user named by a customer, or by an object without a customer.

    A buyer with a payment link can set any `client_reference_id`, so it is not used for payment links.
    """
    if reference(_CUSTOMER(obj)):
        return None
    named = _USER(obj)
    if named is None and obj.get("object") == "checkout.session" and not obj.get("payment_link"):
        named = obj.get("client_reference_id")
    return named if isinstance(named, str) and named else None


def blank(obj: Json) -> Json:
    """The object without personal data. Blanking twice changes nothing."""
    return {key: _kept(key, value) for key, value in obj.items()}


def blanked(seen: Observation) -> Observation:
    """The observation as if Stripe had sent the blanked object, including its hash."""
    snapshot, hashed = seen.snapshot, seen.object if seen.shown is None else seen.shown
    previous = seen.previous
    return replace(
        seen,
        object=blank(seen.object),
        snapshot=replace(
            snapshot,
            content_hash=snapshot.content_hash if snapshot.deleted else content_hash(blank(hashed)),
            before=(lambda: content_hash(blank(put_back(hashed, previous)))) if previous else lambda: None,
        ),
        erased=True,
    )


def blank_body(body: Json) -> Json:
    """An event's body with its object and previous_attributes blanked. The event can still be applied."""
    data = body.get("data")
    if not isinstance(data, dict):
        return blank(body)
    inner = {key: blank(value) if isinstance(value, dict) else _kept(key, value) for key, value in data.items()}
    return {
        **blank({key: value for key, value in body.items() if key != "data"}),
        "data": inner,
        "type": body.get("type"),
    }


def blank_text(body: str) -> str:
    """Blank an event's body, given as the text that is stored in the inbox."""
    read = msgspec.json.decode(body)
    return msgspec.json.encode(blank_body(read) if isinstance(read, dict) else None).decode()


def _kept(key: str, value: Any) -> Any:
    if key in _NEVER:
        return None
    if isinstance(value, dict):
        if key == "metadata":
            return dict(_policy(value))
        return value if value.get("object") in _CATALOGUE else blank(value)
    if isinstance(value, list):
        kept = [_kept(key, member) for member in value]
        return [member for member in kept if member is not None]
    return value if not isinstance(value, str) or _is_stripes(key, value) else None


def _policy(metadata: Json) -> Iterator[tuple[str, Any]]:
    for key, value in metadata.items():
        if key in _POLICY and isinstance(value, str) and _PLAIN.fullmatch(value):
            yield key, value


def _is_stripes(key: str, text: str) -> bool:
    """Whether the text is one of Stripe's words, ids or times, rather than personal data."""
    if _ID.fullmatch(text) or _TIME.fullmatch(text) or text == "":
        return True
    if key in _WORDS:
        return _WORD.fullmatch(text) is not None
    if key in _NAMES:
        return _PLAIN.fullmatch(text) is not None
    if key == "number":
        return _NUMBER.fullmatch(text) is not None  # the number of an invoice; a card number has no letters
    if key == "url":
        return _OWN_PATH.fullmatch(text) is not None
    return key.endswith("_decimal") and _DECIMAL.fullmatch(text) is not None
