"""The console's actions. Each does the same as a CLI command, is confirmed by a person, and is recorded in `sync.audit_log`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from worker.config.settings import Settings
from worker.inbox import store as inbox
from worker.jobs.periodic import ACCESS, BACKFILL, EVENTS
from worker.membership import by_hand
from worker.membership.by_hand import Refused
from worker.membership.compute import policy_of
from worker.web.console import read_inbox
from worker.writers import backfill

Values = Mapping[str, str]
Ids = Sequence[str]
Send = Callable[..., None]
Sentence = Callable[[Values, Ids, Values], str]
Run = Callable[[psycopg.Connection, Settings, Values, Ids, Values, Send], str]


@dataclass(frozen=True, slots=True)
class Action:
    """An action. `sentence` describes what the action will do; `run` does it, and returns what happened."""

    name: str
    title: str
    sentence: Sentence
    run: Run


def audit(conn: psycopg.Connection, *, actor: str, action: str, target: str, detail: Mapping[str, Any]) -> None:
    """Record the action and its actor, in the same transaction as the action."""
    conn.execute(
        "insert into sync.audit_log (actor, action, target, detail) values (%s, %s, %s, %s)",
        (actor, action, target, Jsonb(dict(detail))),
    )


def _chosen(conn: psycopg.Connection, values: Values, ids: Ids) -> list[str]:
    """The ids of the events that the person checked, or of all events in one group of parked events."""
    if values.get("group_type"):
        return read_inbox.parked_with_error(conn, values["group_type"], values.get("group_error", ""))
    if not ids:
        raise Refused("No event is selected: tick at least one.")
    return list(ids)


def _number(values: Values, ids: Ids) -> str:
    if values.get("group_type"):
        return f"all parked events of type {values['group_type']} with the error “{values.get('group_error', '')}”"
    return f"{len(ids)} event" + ("" if len(ids) == 1 else "s")


def _replay(conn: psycopg.Connection, _: Settings, values: Values, ids: Ids, __: Values, send: Send) -> str:
    number = inbox.replay(conn, _chosen(conn, values, ids))
    send("drain", queue=EVENTS)
    return f"{number} events are due again."


def _discard(conn: psycopg.Connection, _: Settings, values: Values, ids: Ids, __: Values, ___: Send) -> str:
    return f"{inbox.discard(conn, _chosen(conn, values, ids))} parked events are discarded."


def _sync_user(_: psycopg.Connection, settings: Settings, __: Values, ___: Ids, path: Values, send: Send) -> str:
    _needs_key(settings)
    send("sync_user", path["id"], queue=ACCESS)
    return f"A worker reads {path['id']} from Stripe now. Reload in a few seconds."


def _sync_object(_: psycopg.Connection, settings: Settings, values: Values, __: Ids, path: Values, send: Send) -> str:
    _needs_key(settings)
    send("sync_object", path["id"], values.get("type"), values.get("account", ""), queue=ACCESS)
    return f"A worker reads {path['id']} from Stripe now. Reload in a few seconds."


def _needs_key(settings: Settings) -> None:
    if settings.stripe_secret_key is None:
        raise Refused("Stripe cannot be read: STRIPE_SECRET_KEY is not set.")


def _override(conn: psycopg.Connection, settings: Settings, values: Values, _: Ids, path: Values, __: Send) -> str:
    until = by_hand.until_when(values.get("until"))
    note = values.get("note") or None
    by_hand.override(conn, path["id"], values.get("role", ""), policy_of(settings), until=until, note=note)
    return f"{path['id']} is {values['role']} " + (
        f"until {until:%Y-%m-%d %H:%M UTC}." if until else "until the override is lifted."
    )


def _lift(conn: psycopg.Connection, settings: Settings, _: Values, __: Ids, path: Values, ___: Send) -> str:
    by_hand.lift_override(conn, path["id"], policy_of(settings))
    return f"The override of {path['id']} is lifted."


def _give_feature(conn: psycopg.Connection, settings: Settings, values: Values, _: Ids, path: Values, __: Send) -> str:
    feature, until = values.get("feature", ""), by_hand.until_when(values.get("until"))
    note = values.get("note") or None
    by_hand.override_feature(conn, path["id"], feature, policy_of(settings), until=until, note=note)
    return f"{path['id']} has the feature {feature} " + (
        f"until {until:%Y-%m-%d %H:%M UTC}." if until else "until it is taken back."
    )


def _lift_feature(conn: psycopg.Connection, settings: Settings, values: Values, _: Ids, path: Values, __: Send) -> str:
    feature = values.get("feature", "")
    by_hand.lift_feature(conn, path["id"], feature, policy_of(settings))
    return f"Stripe decides again whether {path['id']} has the feature {feature}."


def _link(conn: psycopg.Connection, settings: Settings, values: Values, _: Ids, path: Values, __: Send) -> str:
    customer = values.get("customer", "").strip()
    is_new = by_hand.link(conn, customer, path["id"], policy_of(settings), force=values.get("force") == "yes")
    return f"{customer} is {'now' if is_new else 'already'} linked to {path['id']}."


def _apply(_: psycopg.Connection, __: Settings, ___: Values, ____: Ids, _____: Values, send: Send) -> str:
    send("membership_apply", queue=BACKFILL)
    return "A worker computes all users now. This page shows the progress."


def _start_backfill(
    conn: psycopg.Connection, settings: Settings, values: Values, _: Ids, __: Values, send: Send
) -> str:
    _needs_key(settings)
    lists = backfill.lists_named(values.get("lists", "").replace(",", " ").split() or ["all"])
    run, is_new = backfill.start(
        conn, lists, since=_day(values.get("since")), account=values.get("account", "").strip()
    )
    send(backfill.JOB, queue=BACKFILL)
    return f"Backfill {run} has started." if is_new else f"Backfill {run} is running, and reads these lists too."


def _stop_backfill(conn: psycopg.Connection, _: Settings, __: Values, ___: Ids, ____: Values, _____: Send) -> str:
    if not backfill.stop(conn):
        raise Refused("No backfill is running.")
    return "The backfill was stopped. Everything that it wrote stays, and the affected users are computed."


def _day(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError as error:
        raise Refused(f"{text} is not a date such as 2027-01-31") from error


def _sentence_of_backfill(values: Values, _: Ids, __: Values) -> str:
    names = values.get("lists", "").strip() or "all"
    return (
        f"Read {'every list that Stripe has' if names == 'all' else f'these lists of Stripe: {names}'}"
        + (f", of the account {values['account'].strip()}" if values.get("account", "").strip() else "")
        + (f", objects created since {values['since']}" if values.get("since") else "")
        + ". The workers do this while they apply live events, within the background share of the rate limit."
    )


ACTIONS: Mapping[str, Action] = {
    "/inbox/replay": Action(
        "events.replay",
        "Replay events",
        lambda values, ids, _: f"Make {_number(values, ids)} due again. Applying an event twice changes nothing.",
        _replay,
    ),
    "/inbox/discard": Action(
        "events.discard",
        "Discard events",
        lambda values, ids, _: f"Discard {_number(values, ids)}. A discarded event can still be replayed.",
        _discard,
    ),
    "/users/{id}/sync": Action(
        "user.sync",
        "Read from Stripe",
        lambda _, __, path: f"Read all subscriptions of {path['id']} from Stripe now.",
        _sync_user,
    ),
    "/users/{id}/override": Action(
        "user.override",
        "Override the role",
        lambda values, _, path: (
            f"Give {path['id']} the role {values.get('role', '')} regardless of Stripe"
            + (f", until {values['until']}." if values.get("until") else ", until the override is lifted.")
        ),
        _override,
    ),
    "/users/{id}/lift": Action(
        "user.lift_override",
        "Lift the override",
        lambda _, __, path: f"Let Stripe decide the role of {path['id']} again.",
        _lift,
    ),
    "/users/{id}/feature": Action(
        "user.override_feature",
        "Give the feature",
        lambda values, _, path: (
            f"Give {path['id']} the feature {values.get('feature', '')} regardless of Stripe"
            + (f", until {values['until']}." if values.get("until") else ", until it is taken back.")
        ),
        _give_feature,
    ),
    "/users/{id}/lift-feature": Action(
        "user.lift_feature",
        "Take back the feature",
        lambda values, _, path: f"Let Stripe decide whether {path['id']} has the feature {values.get('feature', '')}.",
        _lift_feature,
    ),
    "/users/{id}/link": Action(
        "customer.link",
        "Link a customer",
        lambda values, _, path: (
            f"Link the customer {values.get('customer', '')} to {path['id']} permanently."
            + (" Take it from the user it is linked to." if values.get("force") == "yes" else "")
        ),
        _link,
    ),
    "/objects/{id}/sync": Action(
        "object.sync",
        "Read from Stripe",
        lambda _, __, path: f"Read {path['id']} from Stripe now, and write what differs.",
        _sync_object,
    ),
    "/catalogue/apply": Action(
        "membership.apply",
        "Apply to all users",
        lambda _, __, ___: (
            "Compute every user from the products' current metadata. Users without data from Stripe or an override are "
            "skipped."
        ),
        _apply,
    ),
    "/backfill/start": Action("backfill.start", "Start a backfill", _sentence_of_backfill, _start_backfill),
    "/backfill/stop": Action(
        "backfill.stop",
        "Stop the backfill",
        lambda _, __, ___: "Stop the backfill. Everything that it wrote stays, and the affected users are computed.",
        _stop_backfill,
    ),
}
