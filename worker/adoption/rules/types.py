"""Whether a column's type does where we would have chosen another: liberal where it is safe."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Enum, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB

from schema.functions import KEYS, ROW_IDS
from worker.adoption.rules.findings import Column, Verdict

Judged = tuple[Verdict, str]

# Stripe promises that its ids fit 255 characters.
LONGEST_ID = 255
# What the daemon writes. ADMIN and BANNED are given by people, where the application knows them.
NEEDED_LABELS = {
    "user_role": ("USER", "PREMIUM"),
    "membership_status": ("ACTIVE", "INACTIVE", "CANCELED", "PAST_DUE"),
}

_VARYING = re.compile(r"character varying(?:\((\d+)\))?$")
_NUMBERS = ("smallint", "integer", "bigint")
_STAMP = re.compile(r"timestamp(?:\(\d\))? (with|without) time zone$")


def judge(table: str, name: str, wanted: Any, found: Column, enums: Mapping[str, tuple[str, ...]]) -> Judged:
    """What is said of the column's type, and why. `name` is ours."""
    if isinstance(wanted, Enum):
        return _as_enum(wanted.name or "", found, enums)
    if isinstance(wanted, Text):
        return _as_text(table, name, found)
    if isinstance(wanted, DateTime):
        return _as_time(table, name, found)
    if isinstance(wanted, BigInteger | Integer):
        return _as_number(name, wanted, found)
    if isinstance(wanted, Boolean):
        return _exactly("boolean", found)
    assert isinstance(wanted, JSONB)
    return _exactly("jsonb", found)


def judge_id(ours: Any, found: Column, wanted: str | None) -> Judged | None:
    """What is said of a column that holds ids of users, of organizations or of a table's own rows; None where it holds text
    and is to. `wanted` is the type that these ids have in this database, None for text."""
    if wanted is None and found.type not in KEYS:
        return None
    name = ours.table.name
    if ours.name != "id":
        same = found.type == wanted or (found.type in _NUMBERS and wanted in _NUMBERS)
        said = f"is {found.type}, and refers to ids that are {wanted or 'text'}: give it that type"
        return (Verdict.FITS, f"holds ids as {found.type}") if same else (Verdict.CONFLICT, said)
    if name in ROW_IDS and found.type in _NUMBERS and not (found.generated or "nextval" in (found.default or "")):
        return Verdict.CONFLICT, f"is {found.type} and has no default: give it a sequence, so that rows can be added"
    return Verdict.FITS, f"holds ids as {found.type}"


def stands_for(column: Column) -> str:
    """The type that takes an enum's place, as SQL spells it: the application's enum, or text."""
    return column.type if column.is_enum else "text"


def _as_enum(wanted: str, found: Column, enums: Mapping[str, tuple[str, ...]]) -> Judged:
    if found.is_enum:
        lacking = [label for label in NEEDED_LABELS[wanted] if label not in enums.get(found.type, ())]
        if lacking:
            return Verdict.MISSING, f"the labels {', '.join(lacking)} are added to the enum {found.type}"
        return Verdict.FITS, "" if found.type == wanted else f"the enum {found.type} stands for {wanted}"
    if found.type == "text" or _VARYING.match(found.type):
        return Verdict.DIFFERS, f"{found.type} holds the words of {wanted}"
    return Verdict.CONFLICT, f"is {found.type}: neither an enum nor text"


def _as_text(table: str, name: str, found: Column) -> Judged:
    is_id = name == "id" or name.endswith("_id")
    varying = _VARYING.match(found.type)
    if found.type in ("text", "citext"):
        return Verdict.FITS, ""
    if varying:
        length = int(varying[1]) if varying[1] else None
        if length is None or length >= LONGEST_ID:
            return Verdict.FITS, ""
        if table == "users" and name != "stripe_product_id":
            return Verdict.FITS, ""
        said = f"{found.type} is shorter than the {LONGEST_ID} characters that Stripe may send: more would be refused"
        return Verdict.DIFFERS, said
    if found.type.startswith("character(") and not is_id:
        return Verdict.DIFFERS, f"{found.type} does, as long as values are that long"
    if is_id:
        return Verdict.CONFLICT, (
            f"is {found.type}: ids can be text, {', '.join(KEYS)}, and Stripe's own ids are text. Change it, or name "
            "another column"
        )
    return Verdict.CONFLICT, f"is {found.type}, and has to be text: Stripe's words are written to it"


def _as_time(table: str, name: str, found: Column) -> Judged:
    stamp = _STAMP.match(found.type)
    if name == "email_verified":
        if found.type == "boolean":
            return Verdict.CONFLICT, (
                "is boolean, where a time says when: every user would count as verified. Map email_verified to a new "
                "name ([membership.columns.users] email_verified = ...), which is then added and that the application sets"
            )
        return (
            (Verdict.FITS, "") if stamp or found.type == "date" else (Verdict.CONFLICT, f"is {found.type}, not a time")
        )
    if stamp is None:
        return Verdict.CONFLICT, f"is {found.type}, and has to be timestamptz"
    if stamp[1] == "with":
        return Verdict.FITS, ""
    if (table, name) == ("users", "tokens_expires_at"):
        return Verdict.CONFLICT, (
            f"is {found.type}, and consume_tokens compares it with the clock in whatever time zone a session has: "
            "change it to timestamptz (alter column ... type timestamptz using ... at time zone 'UTC'), or map it"
        )
    return Verdict.DIFFERS, f"{found.type} holds times in UTC, as Prisma reads them"


def _as_number(name: str, wanted: Any, found: Column) -> Judged:
    if found.type == "bigint" or (found.type == "integer" and not isinstance(wanted, BigInteger)):
        return Verdict.FITS, ""
    if found.type == "integer":
        larger = "a larger balance is cut off there" if name == "tokens" else "a row with a larger amount is held back"
        return Verdict.DIFFERS, f"integer ends at 2,147,483,647; {larger}"
    if name in ("amount", "unit_amount"):
        return Verdict.CONFLICT, f"is {found.type}, and has to be bigint: whole cents, as Stripe counts"
    return Verdict.CONFLICT, f"is {found.type}, and has to be integer"


def _exactly(wanted: str, found: Column) -> Judged:
    if found.type == wanted:
        return Verdict.FITS, ""
    return Verdict.CONFLICT, f"is {found.type}, and has to be {wanted}"
