"""Events that report that money of a bill was returned or, if `when` is given, that the return was reversed."""

from collections.abc import Callable

from tests import factories
from tests.factories import Json, event
from tests.membership.situations.life import at


def refund(bill: str, amount: int, id_: str, day: float, when: float | None = None) -> Json:
    status, type_ = ("succeeded", "refund.created") if when is None else ("failed", "refund.failed")
    made = factories.refund(
        f"re_{id_}", amount=amount, status=status, charge=f"ch_{bill}", payment_intent=f"pi_{bill}", created=at(day)
    )
    return event(type_, made, created=at(day if when is None else when))


def charge(bill: str, amount: int, id_: str, day: float) -> Json:
    """The event for an endpoint with an API version of 2020. It receives no event about the refund, only the charge with it."""
    made = factories.refund(
        f"re_{id_}", amount=amount, charge=f"ch_{bill}", payment_intent=f"pi_{bill}", created=at(day)
    )
    shown = factories.charge(
        f"ch_{bill}", payment_intent=f"pi_{bill}", amount_refunded=amount, created=at(day),
        refunds=factories.listing([made], url=f"/v1/charges/ch_{bill}/refunds"),
    )  # fmt: skip
    return event("charge.refunded", shown, created=at(day), api_version="2020-08-27")


def dispute(bill: str, amount: int, id_: str, day: float, when: float | None = None) -> Json:
    status = "lost" if when is None else "won"
    made = factories.dispute(
        f"du_{id_}", charge=f"ch_{bill}", payment_intent=f"pi_{bill}", status=status, amount=amount
    )
    return event("charge.dispute.closed", made | {"created": at(day)}, created=at(day if when is None else when))


def note(bill: str, amount: int, id_: str, day: float, when: float | None = None) -> Json:
    made: Json = {
        "id": f"cn_{id_}", "object": "credit_note", "amount": amount, "total": amount, "created": at(day),
        "currency": "usd", "customer": "cus_jenny", "invoice": bill, "metadata": {}, "post_payment_amount": amount,
        "pre_payment_amount": 0, "refunds": [], "status": "issued" if when is None else "void", "type": "post_payment",
    }  # fmt: skip
    type_ = "credit_note.created" if when is None else "credit_note.voided"
    return event(type_, made, created=at(day if when is None else when))


BACK: dict[str, Callable[[str, int, str, float], Json]] = {
    "refund": refund, "charge": charge, "dispute": dispute, "note": note,
}  # fmt: skip
UNDONE: dict[str, Callable[[str, int, str, float, float], Json]] = {"refund": refund, "dispute": dispute, "note": note}
