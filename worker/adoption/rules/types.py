"""Decide whether a column works although its type is not the one we declare. Other types are accepted if that is safe."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Enum, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB

from schema.functions import KEYS, ROW_IDS, WORDS
from worker.adoption.rules.findings import Column, Verdict

Judged = tuple[Verdict, str]

# Stripe promises ids of at most 255 characters.
LONGEST_ID = 255
# The labels that the daemon writes. The labels ADMIN and BANNED are optional, because only people assign them.
NEEDED_LABELS = {
    "user_role": ("USER", "PREMIUM"),
    "membership_status": ("ACTIVE", "INACTIVE", "CANCELED", "PAST_DUE"),
}

# Stripe's words in columns that are text in our schema, and may be enums in the application's.
STRIPE_WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("stripe_prices", "type"): ("one_time", "recurring"),
    ("stripe_prices", "interval"): ("day", "week", "month", "year"),
    ("user_subscriptions", "status"): (
        "incomplete", "incomplete_expired", "trialing", "active", "past_due", "canceled", "unpaid", "paused",
    ),
    ("payment_history", "status"): ("succeeded",),
}  # fmt: skip

_VARYING = re.compile(r"character varying(?:\((\d+)\))?$")
_NUMBERS = ("smallint", "integer", "bigint")
_STAMP = re.compile(r"timestamp(?:\(\d\))? (with|without) time zone$")


def judge(table: str, name: str, wanted: Any, actual: Column, enums: Mapping[str, tuple[str, ...]]) -> Judged:
    """The verdict on the column's type, and the reason. `name` is our name for the column."""
    if isinstance(wanted, Enum):
        return _as_enum(wanted.name or "", actual, enums)
    if actual.is_enum and (table, name) in WORDS:
        lacking = lacking_words(table, name, enums.get(actual.type, ()))
        if lacking:
            return Verdict.MISSING, f"the labels {', '.join(lacking)} are added to the enum {actual.type}"
        return Verdict.FITS, f"the enum {actual.type} holds Stripe's words"
    if isinstance(wanted, Text):
        return _as_text(table, name, actual)
    if isinstance(wanted, DateTime):
        return _as_time(table, name, actual)
    if isinstance(wanted, BigInteger | Integer):
        return _as_number(name, wanted, actual)
    if isinstance(wanted, Boolean):
        return _exactly("boolean", actual)
    assert isinstance(wanted, JSONB)
    return (Verdict.FITS, "json is compared as jsonb") if actual.type == "json" else _exactly("jsonb", actual)


def judge_id(ours: Any, actual: Column, wanted: str | None) -> Judged | None:
    """Judge a column with ids of users, organizations or the table's own rows. None for text ids: `judge` decides.

    `wanted` is the type of these ids in this database; None for text.
    """
    if wanted is None and actual.type not in KEYS:
        return None
    name = ours.table.name
    if ours.name != "id":
        same = actual.type == wanted or (actual.type in _NUMBERS and wanted in _NUMBERS)
        finding = f"is {actual.type}, but refers to ids that are {wanted or 'text'}: change it to that type"
        return (Verdict.FITS, f"holds ids as {actual.type}") if same else (Verdict.CONFLICT, finding)
    if name in ROW_IDS and actual.type in _NUMBERS and not (actual.generated or "nextval" in (actual.default or "")):
        return Verdict.CONFLICT, f"is {actual.type} and has no default: give it a sequence, so that rows can be added"
    return Verdict.FITS, f"holds ids as {actual.type}"


def lacking_words(table: str, name: str, labels: tuple[str, ...]) -> list[str]:
    """The labels that an enum for Stripe's words lacks. They are in capitals if all existing labels are."""
    known = {label.lower() for label in labels}
    lacking = [word for word in STRIPE_WORDS[table, name] if word not in known]
    return [word.upper() for word in lacking] if labels and all(label.isupper() for label in labels) else lacking


def stands_for(column: Column) -> str:
    """The SQL name of the type that replaces our enum: the application's enum, or text."""
    return column.type if column.is_enum else "text"


def _as_enum(wanted: str, actual: Column, enums: Mapping[str, tuple[str, ...]]) -> Judged:
    if actual.is_enum:
        lacking = [label for label in NEEDED_LABELS[wanted] if label not in enums.get(actual.type, ())]
        if lacking:
            return Verdict.MISSING, f"the labels {', '.join(lacking)} are added to the enum {actual.type}"
        return Verdict.FITS, "" if actual.type == wanted else f"the enum {actual.type} replaces {wanted}"
    if actual.type == "text" or _VARYING.match(actual.type):
        return Verdict.DIFFERS, f"{actual.type} holds the values of {wanted}"
    return Verdict.CONFLICT, f"is {actual.type}: neither an enum nor text"


def _as_text(table: str, name: str, actual: Column) -> Judged:
    is_id = name == "id" or name.endswith("_id")
    varying = _VARYING.match(actual.type)
    if actual.type in ("text", "citext"):
        return Verdict.FITS, ""
    if varying:
        length = int(varying[1]) if varying[1] else None
        if length is None or length >= LONGEST_ID:
            return Verdict.FITS, ""
        if table == "users" and name != "stripe_product_id":
            return Verdict.FITS, ""
        finding = f"{actual.type} is shorter than the {LONGEST_ID} characters that Stripe may send: longer ones would be refused"
        return Verdict.DIFFERS, finding
    if actual.type.startswith("character(") and not is_id:
        return Verdict.DIFFERS, f"{actual.type} works if all values have that length"
    if is_id:
        return Verdict.CONFLICT, (
            f"is {actual.type}: ids can be text, {', '.join(KEYS)}, and Stripe's own ids are text. Change it, or name "
            "another column"
        )
    return Verdict.CONFLICT, f"is {actual.type}, but must be text: texts from Stripe are written to it"


def _as_time(table: str, name: str, actual: Column) -> Judged:
    stamp = _STAMP.match(actual.type)
    if name == "email_verified":
        if actual.type == "boolean":
            return Verdict.CONFLICT, (
                "is boolean, but must be a time: every user would count as verified. Map email_verified to a new name "
                "([membership.columns.users] email_verified = ...). This column is then added, and the application sets it"
            )
        return (
            (Verdict.FITS, "")
            if stamp or actual.type == "date"
            else (Verdict.CONFLICT, f"is {actual.type}, not a time")
        )
    if stamp is None:
        return Verdict.CONFLICT, f"is {actual.type}, but must be timestamptz"
    if stamp[1] == "with":
        return Verdict.FITS, ""
    if (table, name) == ("users", "tokens_expires_at"):
        return Verdict.CONFLICT, (
            f"is {actual.type}, but consume_tokens compares it with the clock in the session's time zone: "
            "change it to timestamptz (alter column ... type timestamptz using ... at time zone 'UTC'), or map it"
        )
    return Verdict.DIFFERS, f"{actual.type} will hold times in UTC, as Prisma expects"


def _as_number(name: str, wanted: Any, actual: Column) -> Judged:
    if actual.type == "bigint" or (actual.type == "integer" and not isinstance(wanted, BigInteger)):
        return Verdict.FITS, ""
    if actual.type == "integer":
        larger = "a larger balance is cut off" if name == "tokens" else "a row with a larger amount is held back"
        return Verdict.DIFFERS, f"integer holds at most 2,147,483,647; {larger}"
    if name in ("amount", "unit_amount"):
        return Verdict.CONFLICT, f"is {actual.type}, but must be bigint: Stripe's amounts are whole cents"
    return Verdict.CONFLICT, f"is {actual.type}, but must be integer"


def _exactly(wanted: str, actual: Column) -> Judged:
    if actual.type == wanted:
        return Verdict.FITS, ""
    return Verdict.CONFLICT, f"is {actual.type}, but must be {wanted}"
