"""The kinds of objects in the sandbox: one row of data each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Every type and list that Stripe has, as data.
CATALOGUE = Path(__file__).parent.parent / "schema" / "catalogue.json"
# Lists that other parts of the sandbox answer.
_ANSWERED = {"webhook_endpoints", "payment_methods"}
_ANSWERED_TYPES = {"webhook_endpoint"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One of Stripe's object types, and the filters of its list.

    `owners` and `traits` map the name of a filter to the field that the filter compares. Owners have an index, because
    few objects have the same owner. Traits have none: each object is compared. A field with a star means each member of a
    list. Records of a `plain` kind are the objects themselves, stored as given. `under` are the paths of lists under a
    parent; the record has the parent's id as `_parent`. `url` is the path for retrieving an object, and `events` are the
    types of its events.
    """

    name: str
    path: str
    prefix: str = ""
    owners: tuple[tuple[str, str], ...] = ()
    traits: tuple[tuple[str, str], ...] = ()
    deleted_stub: bool = False
    shelf: str = ""
    plain: bool = False
    under: tuple[str, ...] = ()
    url: str = ""
    events: tuple[str, ...] = ()

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """All filters, in the order in which their values are kept."""
        return self.owners + self.traits

    @property
    def kept_as(self) -> str:
        """The kind that stores the records: a plan is an older view of a price."""
        return self.shelf or self.name


_ROWS = (
    Kind("product", "/v1/products", "prod_", traits=(("active", "active"), ("url", "url"), ("ids", "id"))),
    Kind(
        "price",
        "/v1/prices",
        "price_",
        owners=(("product", "product"), ("lookup_keys", "lookup_key")),
        traits=(("active", "active"), ("type", "type"), ("currency", "currency")),
    ),
    Kind(
        "plan", "/v1/plans", "price_", shelf="price", owners=(("product", "product"),), traits=(("active", "active"),)
    ),
    Kind(
        "customer",
        "/v1/customers",
        "cus_",
        owners=(("email", "email"), ("user_id", "metadata.user_id")),
        deleted_stub=True,
    ),
    Kind("coupon", "/v1/coupons"),
    Kind("discount", "", "di_"),
    Kind("entitlements.feature", "/v1/entitlements/features", "feat_", owners=(("lookup_key", "lookup_key"),)),
    Kind(
        "payment_method",
        "/v1/payment_methods",
        "pm_",
        owners=(("customer", "customer"),),
        traits=(("type", "type"),),
    ),
    Kind(
        "subscription",
        "/v1/subscriptions",
        "sub_",
        owners=(("customer", "customer"), ("price", "items.*.price")),
        traits=(("status", "status"), ("collection_method", "collection_method")),
    ),
    Kind(
        "invoice",
        "/v1/invoices",
        "in_",
        owners=(("customer", "customer"), ("subscription", "_subscription")),
        traits=(("status", "status"), ("collection_method", "collection_method")),
    ),
    Kind(
        "invoice_payment",
        "/v1/invoice_payments",
        "inpay_",
        owners=(("invoice", "invoice"), ("payment", "payment.payment_intent")),
        traits=(("status", "status"),),
    ),
    Kind("payment_intent", "/v1/payment_intents", "pi_", owners=(("customer", "customer"),)),
    Kind(
        "charge",
        "/v1/charges",
        "ch_",
        owners=(("customer", "customer"), ("payment_intent", "payment_intent")),
    ),
    Kind("refund", "/v1/refunds", "re_", owners=(("charge", "charge"), ("payment_intent", "payment_intent"))),
    Kind("credit_note", "/v1/credit_notes", "cn_", owners=(("customer", "customer"), ("invoice", "invoice"))),
    Kind("dispute", "/v1/disputes", "du_", owners=(("charge", "charge"), ("payment_intent", "payment_intent"))),
    Kind(
        "checkout.session",
        "/v1/checkout/sessions",
        "cs_",
        owners=(
            ("customer", "customer"),
            ("subscription", "subscription"),
            ("payment_intent", "payment_intent"),
            ("client_reference_id", "client_reference_id"),
        ),
        traits=(("status", "status"),),
    ),
)


def _plain() -> Iterator[Kind]:
    """All other types that Stripe lists, or for which it sends events."""
    catalogue = json.loads(CATALOGUE.read_text())
    known = {row.name for row in _ROWS}
    for name, type_ in catalogue["types"].items():
        if name in known | _ANSWERED_TYPES:
            continue
        lists = [
            row
            for list_, row in catalogue["lists"].items()
            if name in row["objects"]
            and list_ not in _ANSWERED
            and row.get("read_with") not in ("subscriptions", "invoices")
        ]
        nested = tuple(row["path"] for row in lists if "{" in row["path"] and "/checkout/" not in row["path"])
        params = tuple((row["param"], "_parent") for row in lists if "param" in row)
        yield Kind(
            name,
            next((row["path"] for row in lists if "{" not in row["path"]), ""),
            owners=(("_parent", "_parent"), *params),
            plain=True,
            under=nested,
            url=type_.get("url", ""),
            events=tuple(type_.get("events", ())),
        )


KINDS: dict[str, Kind] = {row.name: row for row in (*_ROWS, *_plain())}
BY_PATH: dict[str, Kind] = {row.path: row for row in KINDS.values() if row.path}
