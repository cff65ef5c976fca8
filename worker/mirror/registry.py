"""The registry of Stripe's object types, one row for each type.

The types in TYPES have tables of their own. A row only states the irregular properties of a type; `schema.catalogue`
has the rest. A column is read from the field with the same name, unless `columns` names another field. Objects of all
other types are stored in `mirror.objects`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from schema import catalogue, mirror
from schema.mirror import MirrorTable
from worker.stripe_api.json_paths import Json, Read, at, embedded, first_of_children

# Columns that name another object and have no index.
_REFERENCES = {"product", "price", "subscription_item", "latest_charge", "charge", "payment_charge"}


@dataclass(frozen=True, slots=True)
class Column:
    """A typed column: its kind, and the function that reads it from an object."""

    name: str
    kind: str
    read: Read


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """A list embedded in its parent. Parent and children share one version.

    `parent` is the column of the children that holds the parent's id. Stripe embeds the beginning of the list. If
    `path` is given, the list may be missing from the parent. It is then read from that path ({id} is the parent's id),
    if `wanted` returns true for the parent. `id` builds the child's key from the parent and the child.
    """

    field: str
    type: "ObjectType"
    parent: str = "parent"
    path: str | None = None
    wanted: Callable[[Json], bool] = lambda _: True
    id: Callable[[Json, Json], str] = lambda _, child: str(child["id"])

    def is_cut(self, obj: Json) -> bool:
        """Whether Stripe has more children than the object contains."""
        return embedded(obj, self.field)[1] and self.wanted(obj)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectType:
    """A Stripe object type.

    `deciding` are the top-level fields, of any API version, that users are computed from (their access, tokens and
    rows, see `worker.membership`). Existence, deletion and the unsettled mark also decide. `decides_users` is whether
    users are computed from objects of the type at all. `url` is the path for reading an object by its id ({id}), or
    None if there is none. `final` are the statuses that an object never leaves. `reborn` is whether an id can be
    created again after a deletion. `customer` reads the customer of an object.

    `lacks` is whether the object in an event lacks something that a read would contain. `lists` are embedded lists of
    objects with rows of their own, each with the path ({id}) for reading the whole list. If an object can't be read by
    its id, `from_list` builds it from its id and a list.
    """

    name: str
    table: MirrorTable
    url: str | None
    final: frozenset[str]
    reborn: bool
    customer: Read
    children: tuple[Children, ...]
    columns: tuple[Column, ...]
    deciding: frozenset[str] = frozenset()
    decides_users: bool = False
    lacks: Callable[[Json], bool] = lambda _: False
    lists: tuple[tuple[str, str], ...] = ()
    from_list: Callable[[str, Json], Json] | None = None

    @property
    def fetchable(self) -> bool:
        return self.url is not None


def _type(
    name: str,
    table: str,
    *,
    embedded: bool = False,
    columns: Mapping[str, Read | str] | None = None,
    final: tuple[str, ...] = (),
    reborn: bool = False,
    customer: str = "customer",
    deciding: str | None = None,
    children: tuple[Children, ...] = (),
    lacks: Callable[[Json], bool] = lambda _: False,
    lists: tuple[tuple[str, str], ...] = (),
    from_list: tuple[str, Callable[[str, Json], Json]] | None = None,
) -> ObjectType:
    own = dict(columns or {})
    declared = mirror.tables[table]

    def read(column: str) -> Read:
        where = own.pop(column, column)
        return at(where) if isinstance(where, str) else where

    typed = tuple(
        Column(column, _kind(column, kind, declared.indexed), read(column))
        for column, kind in declared.own.items()
        # The pass that reads lists under a parent writes `parent`.
        if column != "parent"
    )
    assert not own, f"{name}: columns that mirror.{table} does not have: {sorted(own)}"
    return ObjectType(
        name=name,
        table=declared,
        url=None if embedded else from_list[0] if from_list is not None else _url(name),
        final=frozenset(final),
        reborn=reborn,
        customer=at(customer),
        children=children,
        columns=typed,
        deciding=frozenset((deciding or "").split()),
        decides_users=deciding is not None,
        lacks=lacks,
        lists=lists,
        from_list=from_list[1] if from_list is not None else None,
    )


def _kind(column: str, kind: str, indexed: Collection[str]) -> str:
    """The kind of a column's value. A text is an id if it refers to an object or is searched. Metadata is an object."""
    if kind == "text" and (column in indexed or column in _REFERENCES):
        return "id"
    return "object" if column == "metadata" else kind


def _url(name: str) -> str | None:
    """The path for reading an object of the type; None if the id alone is not enough."""
    known = catalogue.types().get(name)
    return known.url if known is not None and known.url is not None and "{id}" in known.url else None


_USER_ID = at("metadata.user_id", "metadata.userId")


def _earliest_period(name: str) -> Read:
    """Since the API version basil, each item has its own period. The earliest time is used, as Stripe did in older
    versions."""
    of_items, of_subscription = first_of_children("items", name, _earliest), at(name)
    return lambda obj: of_items(obj) or of_subscription(obj)


def _earliest(seconds: Sequence[object]) -> int | None:
    return min((second for second in seconds if isinstance(second, int)), default=None)


def _invoice_payment_intent(obj: Json) -> object:
    """Before the API version basil, the invoice names the payment. Since then, its `payments` do, if they are
    included."""
    return obj.get("payment_intent") or first_of_children(
        "payments", "payment.payment_intent", lambda values: values[0]
    )(obj)


def _line_id(invoice: Json, line: Json) -> str:
    """The key of a line: its `unique_id` (API versions of 2017 to 2019), or else its id.

    In old versions the line of a subscription has the id of the subscription, the same on every invoice. The key then
    includes the invoice.
    """
    unique, id_ = line.get("unique_id"), str(line["id"])
    if isinstance(unique, str) and unique:
        return unique
    return f"{invoice.get('id')}:{id_}" if id_.startswith("sub_") else id_


def _hides_refunds(charge: Json) -> bool:
    """Whether the refunded amount of a charge is larger than the refunds it contains (none since API version
    2022-11-15)."""
    refunded = charge.get("amount_refunded")
    shown = sum(refund["amount"] for refund in embedded(charge, "refunds")[0] if isinstance(refund.get("amount"), int))
    return isinstance(refunded, int) and refunded > shown


def _names_no_product(subscription: Json) -> bool:
    """Whether the price or plan of an item names no product. Plans before 2018 do not."""
    product = at("price.product", "plan.product")
    return any(product(item) is None for item in embedded(subscription, "items")[0])


def _returned_by_credit_note(note: Json) -> int | None:
    """The money that a credit note returned after payment, in minor units, without its refunds, which have rows of
    their own.

    `post_payment_amount` was credited to the customer's balance, refunded, or paid out of band
    (docs.stripe.com/api/credit_notes/object). Older versions only have the `type` of the note.
    """
    amount, known = note.get("post_payment_amount"), note.get("amount")
    if not isinstance(amount, int):
        if note.get("type") != "post_payment" or not isinstance(known, int):
            return None
        amount = known
    refunds = note.get("refunds")
    parts = (
        [part.get("amount_refunded") for part in refunds if isinstance(part, dict)] if isinstance(refunds, list) else []
    )
    refunded = sum(part for part in parts if isinstance(part, int))
    if not parts and note.get("refund") is not None:
        refunded = amount
    return max(amount - refunded, 0)


def _sold_without_an_invoice(session: Json) -> bool:
    """Whether the session's line items are the only source of what was sold."""
    return (
        session.get("mode") == "payment"
        and session.get("payment_status") in ("paid", "no_payment_required")
        and session.get("status") == "complete"
        and not session.get("invoice")
    )


def _is_reconciled(payout: Json) -> bool:
    """Whether Stripe has assigned balance transactions to the payout. No event contains them."""
    return payout.get("reconciliation_status") == "completed"


def entitlement_summary(customer: str, active: Json) -> Json:
    """A summary of a customer's active entitlements, as events contain it, built from the list `active`."""
    return {"object": "entitlements.active_entitlement_summary", "customer": customer, "entitlements": active}


_subscription_item = _type(
    "subscription_item",
    "subscription_items",
    embedded=True,
    columns={"price": at("price", "plan"), "product": at("price.product", "plan.product")},
)

_invoice_line_item = _type(
    "line_item",
    "invoice_line_items",
    embedded=True,
    columns={
        "price": at("pricing.price_details.price", "price", "plan"),
        "product": at("pricing.price_details.product", "price.product", "plan.product"),
        "subscription": at(
            "subscription",
            "parent.subscription_item_details.subscription",
            "parent.invoice_item_details.subscription",
        ),
        "subscription_item": at("parent.subscription_item_details.subscription_item", "subscription_item"),
        "proration": at(
            "parent.subscription_item_details.proration", "parent.invoice_item_details.proration", "proration"
        ),
        "period_start": "period.start",
        "period_end": "period.end",
    },
)

_sold_item = _type("item", "checkout_session_line_items", embedded=True, columns={"product": "price.product"})

TYPES: dict[str, ObjectType] = {
    row.name: row
    for row in (
        _type("product", "products", reborn=True),
        _type(
            "product_feature",
            "product_features",
            columns={
                "entitlement_feature": "entitlement_feature.id",
                "entitlement_feature_lookup_key": "entitlement_feature.lookup_key",
            },
        ),
        _type(
            "price",
            "prices",
            columns={
                "recurring_interval": "recurring.interval",
                "recurring_interval_count": "recurring.interval_count",
                "recurring_trial_period_days": "recurring.trial_period_days",
                "recurring_usage_type": "recurring.usage_type",
            },
        ),
        _type("plan", "plans", reborn=True),
        _type("coupon", "coupons", reborn=True),
        _type(
            "customer",
            "customers",
            customer="id",
            deciding="",
            columns={
                "metadata_user_id": _USER_ID,
                "invoice_settings_default_payment_method": "invoice_settings.default_payment_method",
            },
        ),
        _type(
            "payment_method",
            "payment_methods",
            columns={
                "card_brand": "card.brand",
                "card_last4": "card.last4",
                "card_exp_month": "card.exp_month",
                "card_exp_year": "card.exp_year",
            },
        ),
        _type(
            "subscription",
            "subscriptions",
            deciding="customer status created current_period_start current_period_end trial_start trial_end status_details "
            "cancel_at_period_end canceled_at ended_at metadata items",
            final=("canceled", "incomplete_expired"),
            columns={
                "current_period_start": _earliest_period("current_period_start"),
                "current_period_end": _earliest_period("current_period_end"),
                "pause_collection_behavior": "pause_collection.behavior",
                "pause_collection_resumes_at": "pause_collection.resumes_at",
                "status_details_paused_subscription_type": "status_details.paused.subscription.type",
                "billing_mode_type": "billing_mode.type",
                "metadata_user_id": _USER_ID,
                "metadata_organization_id": at("metadata.organization_id", "metadata.organizationId"),
            },
            children=(Children(field="items", type=_subscription_item, parent="subscription"),),
            lacks=_names_no_product,
        ),
        _type(
            "invoice",
            "invoices",
            deciding="customer status created subscription parent total amount_paid payment_intent payments charge "
            "status_transitions lines",
            final=("paid", "void"),
            columns={
                "subscription": at("parent.subscription_details.subscription", "subscription"),
                "status_transitions_finalized_at": "status_transitions.finalized_at",
                "status_transitions_paid_at": "status_transitions.paid_at",
                "status_transitions_voided_at": "status_transitions.voided_at",
                "status_transitions_marked_uncollectible_at": "status_transitions.marked_uncollectible_at",
                "payment_intent": _invoice_payment_intent,
            },
            children=(Children(field="lines", type=_invoice_line_item, parent="invoice", id=_line_id),),
        ),
        _type(
            "invoice_payment",
            "invoice_payments",
            deciding="invoice payment created",
            final=("paid", "canceled"),
            columns={
                "payment_type": "payment.type",
                "payment_payment_intent": "payment.payment_intent",
                "payment_charge": "payment.charge",
                "status_transitions_paid_at": "status_transitions.paid_at",
            },
        ),
        _type(
            "payment_intent",
            "payment_intents",
            deciding="customer status created amount amount_received currency description invoice metadata",
            final=("succeeded", "canceled"),
        ),
        _type(
            "charge",
            "charges",
            deciding="customer payment_intent amount_refunded created",
            final=("failed",),
            lacks=_hides_refunds,
            lists=(("refunds", "/v1/charges/{id}/refunds"),),
        ),
        _type(
            "credit_note",
            "credit_notes",
            deciding="customer invoice status type amount post_payment_amount refund refunds created",
            final=("void",),
            columns={"returned": _returned_by_credit_note},
            children=(
                Children(
                    field="lines",
                    type=_type("credit_note_line_item", "objects", embedded=True),
                    path="/v1/credit_notes/{id}/lines",
                    wanted=lambda note: isinstance(note.get("lines"), dict),
                ),
            ),
        ),
        _type(
            "refund",
            "refunds",
            deciding="charge payment_intent status amount created",
            final=("failed", "canceled"),
        ),
        _type(
            "dispute",
            "disputes",
            deciding="charge payment_intent status amount created",
            final=("prevented",),
            columns={"evidence_details_due_by": "evidence_details.due_by"},
        ),
        _type(
            "checkout.session",
            "checkout_sessions",
            deciding="customer client_reference_id mode status payment_status payment_link invoice payment_intent created "
            "metadata amount_total line_items",
            final=("complete", "expired"),
            columns={
                "customer_details_email": "customer_details.email",
                "metadata_user_id": _USER_ID,
                "metadata_product": "metadata.product",
            },
            children=(
                Children(
                    field="line_items",
                    type=_sold_item,
                    parent="checkout_session",
                    path="/v1/checkout/sessions/{id}/line_items",
                    wanted=_sold_without_an_invoice,
                ),
            ),
        ),
    )
}

# The statuses that objects never leave, for types without a table of their own.
_FINAL: dict[str, tuple[str, ...]] = {
    "setup_intent": ("succeeded", "canceled"),
    "subscription_schedule": ("canceled", "completed", "released"),
}


_ENTITLEMENTS = "/v1/entitlements/active_entitlements?customer={id}&limit=100"
_item = _type("item", "objects", embedded=True)
# Types without a table of their own whose objects have lists that may be truncated or left out.
_NESTED = {
    "entitlements.active_entitlement_summary": _type(
        "entitlements.active_entitlement_summary",
        "objects",
        from_list=(_ENTITLEMENTS, entitlement_summary),
        children=(
            Children(
                field="entitlements",
                type=_type("entitlements.active_entitlement", "objects", embedded=True),
                path=_ENTITLEMENTS,
            ),
        ),
    ),
    "payment_link": _type(
        "payment_link",
        "objects",
        children=(Children(field="line_items", type=_item, path="/v1/payment_links/{id}/line_items"),),
    ),
    "payout": _type(
        "payout",
        "objects",
        final=("canceled", "failed"),
        lacks=_is_reconciled,
        lists=(("balance_transactions", "/v1/balance_transactions?payout={id}&limit=100"),),
    ),
    "quote": _type(
        "quote",
        "objects",
        final=("accepted", "canceled"),
        children=(Children(field="line_items", type=_item, path="/v1/quotes/{id}/line_items"),),
    ),
}


@cache
def object_type(name: str) -> ObjectType:
    """The registry's row for this type. A type that is not in the registry is stored in `mirror.objects`."""
    known = TYPES.get(name) or _NESTED.get(name)
    return known if known is not None else _type(name, "objects", final=_FINAL.get(name, ()))


def is_preview(id_: str) -> bool:
    """Whether the id belongs to an upcoming invoice (`invoice.upcoming`), which can't be read."""
    return id_.startswith("upcoming_")
