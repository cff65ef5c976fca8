"""Read one object from Stripe now, write it through the guarded write, and return what changed."""

from dataclasses import dataclass
from typing import Any

import psycopg

from schema import catalogue
from worker.config.errors import Permanent, Temporary
from worker.membership.rules.access import Policy
from worker.mirror import history, refetch_queue
from worker.mirror import store as mirror
from worker.mirror.fold import Key
from worker.mirror.history import Difference
from worker.mirror.refetch_queue import Wanted
from worker.mirror.registry import object_type
from worker.mirror.version import REPLICA_LAG_SECONDS
from worker.observe import log
from worker.writers.record import Answered, record_answers
from worker.writers.refetch import Source, observation, read

_log = log.get("sync_object")

ATTEMPTS = 5
# The type of an object by the prefix of its id. Products, plans and coupons may have any id, so the mirror is searched
# first.
_PREFIXES = {
    "acct": "account", "ba": "bank_account", "bpc": "billing_portal.configuration", "card": "card", "ch": "charge",
    "clock": "test_helpers.test_clock", "cn": "credit_note", "credgr": "billing.credit_grant", "cs": "checkout.session",
    "cus": "customer", "dp": "dispute", "du": "dispute", "ent": "entitlements.active_entitlement", "fca":
    "financial_connections.account", "feat": "entitlements.feature", "fee": "application_fee", "file": "file", "frr":
    "reporting.report_run", "iauth": "issuing.authorization", "ic": "issuing.card", "ich": "issuing.cardholder", "idp":
    "issuing.dispute", "ii": "invoiceitem", "in": "invoice", "inpay": "invoice_payment", "ipi": "issuing.transaction",
    "issfr": "radar.early_fraud_warning", "link": "file_link", "mandate": "mandate", "mtr": "billing.meter", "pi":
    "payment_intent", "plan": "plan", "plink": "payment_link", "pm": "payment_method", "pmc":
    "payment_method_configuration", "pmd": "payment_method_domain", "po": "payout", "price": "price", "prod": "product",
    "promo": "promotion_code", "prv": "review", "py": "charge", "pyr": "refund", "qt": "quote", "re": "refund",
    "rsl": "radar.value_list", "seti": "setup_intent", "shr": "shipping_rate", "sqr": "scheduled_query_run", "src": "source",
    "sub": "subscription", "sub_sched": "subscription_schedule", "taxreg": "tax.registration", "tmc":
    "terminal.configuration", "tml": "terminal.location", "tmr": "terminal.reader", "tr": "transfer", "tu": "topup", "txi":
    "tax_id", "txn": "balance_transaction", "txr": "tax_rate", "vr": "identity.verification_report", "vs":
    "identity.verification_session", "we": "webhook_endpoint",
}  # fmt: skip


class UnknownType(Permanent):
    """The type of the object is not known from its id."""


class CannotRead(Permanent):
    """Objects of this type cannot be read by their id."""


class NotThere(Permanent):
    """Neither Stripe nor the mirror has such an object."""


class Moved(Temporary):
    """Events of the object arrived faster than it could be read."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The result of reading one object.

    `outcome` is `corrected`, `confirmed` (nothing differed), `deleted`, or `uncertain` (a worker reads the object again
    within seconds).
    """

    object: str
    id: str
    account: str
    outcome: str
    read_at: int
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        changed = [each._asdict() for each in self.differences]
        return {
            "object": self.object,
            "id": self.id,
            "account": self.account or None,
            "outcome": self.outcome,
            "read_at": self.read_at,
            "changed": changed,
        }


def type_of(conn: psycopg.Connection, id_: str, account: str = "") -> str:
    """The type of the object with this id, from the mirror or else from the prefix of the id. Raises UnknownType."""
    held = {row["object"] for row in history.find(conn, id_) if row["account"] == account}
    if len(held) == 1:
        return str(held.pop())
    prefix = id_.rpartition("_")[0].removesuffix("_test").removesuffix("_live")
    known = _PREFIXES.get(prefix)
    if known is None or (held and known not in held):
        also = f" ({' and '.join(sorted(held))} have it)" if held else ""
        raise UnknownType(
            f"{id_}: the type is not known from the id{also}: name it with --type, for example --type product", id=id_
        )
    return known


def sync_object(
    conn: psycopg.Connection, stripe: Source, policy: Policy, id_: str, type_: str | None = None, *, account: str = ""
) -> Synced:
    """Read an object, write it, and return what changed.

    Raises UnknownType, CannotRead, NotThere, Moved, and the client's errors. No transaction is open while Stripe is
    read.
    """
    name = type_ or type_of(conn, id_, account)
    row = object_type(name)
    if row.url is None:
        known = name in catalogue.types()
        why = "comes only with its parent or in events: sync the parent" if known else "is not a type of Stripe"
        raise CannotRead(f"{name}: {why}", type=name)
    key = Key(row.table.name, name, id_, account)
    for _ in range(ATTEMPTS):
        rev, deleted = mirror.standing(conn, key)
        standing = _standing(conn, key)
        answer = read(stripe, key, row.url.format(id=id_))
        if answer.missing and not rev:
            raise NotThere(f"Stripe has no {name} {id_}, and neither has the mirror", id=id_)
        if answer.missing and not deleted:
            # One answer does not prove that the object is deleted. A worker reads it a second time.
            with conn.transaction():
                refetch_queue.want(conn, [Wanted(key, row.url.format(id=id_), answer.read_at)])
            return Synced(name, id_, account, "uncertain", answer.read_at, ())
        seen = observation(stripe, key, answer)
        with conn.transaction():
            (outcome,) = record_answers(conn, [Answered(seen, rev, _newest_event(standing))], policy)
            if uncertain := outcome is not None and outcome.version is not None and outcome.version.unsettled:
                refetch_queue.want(conn, [Wanted(key, row.url.format(id=id_), answer.read_at)])
        if outcome is not None:
            changed = tuple(history.differences(_content(standing), _content(_standing(conn, key))))
            result = "deleted" if answer.deleted else "corrected" if changed else "confirmed"
            result = "uncertain" if uncertain else result
            _log.info("object.synced", object_id=id_, object_type=name, outcome=result)
            return Synced(name, id_, account, result, answer.read_at, changed)
    raise Moved(f"{id_}: events of the object keep arriving: try again", id=id_)


def _standing(conn: psycopg.Connection, key: Key) -> history.Row | None:
    rows = [row for row in history.find(conn, key.id) if (row["table"], row["account"]) == (key.table, key.account)]
    return next((row for row in rows if key.table != "objects" or row["object"] == key.object), None)


def _content(row: history.Row | None) -> dict[str, Any]:
    return {} if row is None else {**row["data"], "deleted": row["deleted"]}


def _newest_event(row: history.Row | None) -> int | None:
    """The latest possible time of the object's newest event, in unix seconds, if a read has settled the row since; else
    None."""
    if row is None or row["unsettled"] or not history.is_read(row["observed_in"]):
        return None
    return int(row["observed_at"].timestamp()) - REPLICA_LAG_SECONDS
