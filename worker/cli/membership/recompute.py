"""The work of `stripe-sync membership plan` and `apply`."""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker.cli import database
from worker.cli.output import fail, say, say_json
from worker.cli.users.find import find
from worker.config.settings import Settings
from worker.membership import compute, recompute_all
from worker.membership.compute import policy_of
from worker.membership.rules import wording
from worker.membership.rules.facts import Product
from worker.membership.rules.outcome import COLUMNS, Change, Outcome
from worker.membership.store import catalogue
from worker.postgres import pool

# The exit code of a command that Ctrl-C ended.
INTERRUPTED = 130


@dataclass(slots=True)
class _Tally:
    """The totals of a plan."""

    users: int = 0
    changing: int = 0
    columns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))
    grants: int = 0
    tokens: int = 0

    def add(self, outcome: Outcome) -> None:
        self.changing += bool(outcome.changes)
        for column in outcome.changes:
            self.columns[column] += 1
        self.grants += len(outcome.grants)
        self.tokens += sum(grant.balance_after - grant.balance_before for grant in outcome.grants)


def plan(users: list[str] | None, *, limit: int, as_json: bool) -> None:
    """Print the changes that `apply` would make: at most `limit` users, and the totals of all."""
    settings = database.load_with_membership()
    tally = _Tally()
    with database.connect(settings, application="plan") as conn:
        changes = _planned(conn, settings, _chosen(conn, users), tally)
        unclear = catalogue.unclear_products(conn)
        if as_json:
            _print_json(settings, unclear, changes, tally, limit=limit)
            return
        say(f"Using the products' metadata in the mirror, and {_policy_text(settings)}. Nothing is written.")
        for product in unclear:
            say(f"Product {product.id}: {wording.unreadable(product)}.")
        printed = 0
        for user, outcome in changes:
            if printed < limit:
                say(f"  {user}: {_change_text(outcome)}")
                printed += 1
        _say_tally(tally, printed)


def apply(users: list[str] | None, *, restart: bool, batch: int | None, as_json: bool) -> None:
    """Recompute the named users, or all users in batches. Ctrl-C keeps the batches that are done."""
    settings = database.load_with_membership()
    if users:
        _apply_to(settings, users, as_json=as_json)
        return
    with database.connect(settings, application="apply"):
        pass  # checks the schema; the job opens its own connections, and reconnects after an outage
    if not as_json:
        say(f"Computing with the products' metadata in the mirror, and {_policy_text(settings)}.")
    done: recompute_all.Progress | None = None
    try:
        with _bar(quiet=as_json) as bar:
            task = bar.add_task("users", total=None)
            steps = recompute_all.apply(
                lambda: pool.connect(settings, application="apply"),
                policy_of(settings),
                restart=restart,
                batch=batch or recompute_all.BATCH,
            )
            for done in steps:
                if done.users == done.resumed and done.resumed and not as_json:
                    bar.console.print(f"Resuming after the {done.resumed:,} users already done.")
                bar.update(task, completed=done.users, total=done.of)
    except KeyboardInterrupt:
        reached = f"{done.users:,} of {done.of:,} users are done" if done else "no user is done yet"
        say(f"Interrupted: {reached}. `stripe-sync membership apply` resumes from there.")
        raise typer.Exit(INTERRUPTED) from None
    assert done is not None
    if as_json:
        say_json({"users": done.users, "changed": done.changed, "resumed": done.resumed, "outdated": done.outdated})
    else:
        say(f"Users computed: {done.users:,}, changed: {done.changed:,}.")
        if done.outdated:
            say("Products changed meanwhile. Run it again to recompute the users that were computed before the change.")


def _apply_to(settings: Settings, users: Collection[str], *, as_json: bool) -> None:
    with database.connect(settings, application="apply") as conn:
        chosen = _chosen(conn, users) or []
        with conn.transaction():
            changed = compute.compute(conn, chosen, policy_of(settings), concerned_only=True)
    if as_json:
        say_json({"users": len(chosen), "changed": len(changed)})
    else:
        named = f" ({', '.join(changed)})" if changed else ""
        say(f"Users computed: {len(chosen):,}, changed: {len(changed):,}{named}.")


def _chosen(conn: psycopg.Connection, users: Collection[str] | None) -> list[str] | None:
    """The ids of the named users, sorted; None stands for all users."""
    if not users:
        return None
    ids = [find(conn, user)["id"] for user in users]
    if without := sorted(set(ids) - recompute_all.concerned(conn, ids)):
        fail(
            f"{', '.join(without)}: no linked customer, no override and no paying organization, so there is nothing to "
            "compute (`stripe-sync link CUSTOMER USER` links a customer)"
        )
    return sorted(set(ids))


def _planned(
    conn: psycopg.Connection, settings: Settings, only: Collection[str] | None, tally: _Tally
) -> Iterator[tuple[str, Outcome]]:
    """The users that would change, in the order of their ids. All users looked at are counted in `tally`."""
    for piece in recompute_all.plan(conn, policy_of(settings), only=only):
        tally.users += piece.users
        for user, outcome in piece.changing.items():
            tally.add(outcome)
            yield user, outcome


def _say_tally(tally: _Tally, printed: int) -> None:
    if (left := tally.changing - printed) > 0:
        say(f"  ... and {left:,} more (--limit)")
    by_column = ", ".join(f"{column} of {count:,}" for column, count in tally.columns.items() if count)
    text = f"{tally.changing:,} of {tally.users:,} users would change"
    text += f": {by_column}" if by_column else ""
    text += f"; {tally.grants:,} ledger rows, {tally.tokens:+,} tokens" if tally.grants else ""
    say(f"{text}. `stripe-sync membership apply` applies this." if tally.changing or tally.grants else f"{text}.")


def _print_json(
    settings: Settings,
    unclear: Sequence[Product],
    changes: Iterator[tuple[str, Outcome]],
    tally: _Tally,
    *,
    limit: int,
) -> None:
    """Write one JSON document while the plan is computed, without keeping the changes in memory."""
    out = sys.stdout
    products = {product.id: list(product.unclear) for product in unclear}
    out.write('{\n  "settings": ' + json.dumps(_policy_settings(settings)))
    out.write(',\n  "unclear_products": ' + json.dumps(products) + ',\n  "changes": [')
    printed = 0
    for user, outcome in changes:
        if printed < limit:
            out.write(("," if printed else "") + "\n    " + json.dumps(_change(user, outcome), default=str))
            printed += 1
    summary = {
        "users": tally.users,
        "changing": tally.changing,
        "columns": tally.columns,
        "grants": tally.grants,
        "tokens": tally.tokens,
    }
    out.write(("\n  " if printed else "") + '],\n  "summary": ' + json.dumps(summary) + "\n}\n")


def _change(user: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "user": user,
        "columns": {column: _change_json(change) for column, change in outcome.changes.items()},
        "grants": [
            {"source_key": grant.source_key, "kind": grant.kind, "amount": grant.amount} for grant in outcome.grants
        ],
    }


def _change_json(change: Change) -> dict[str, Any]:
    """Both values of the change for JSON; features become objects."""
    return {
        name: [each._asdict() for each in value] if isinstance(value, tuple) else value
        for name, value in change._asdict().items()
    }


def _change_text(outcome: Outcome) -> str:
    parts = [wording.change(column, change) for column, change in outcome.changes.items()]
    parts += [f"ledger {grant.amount:+,} {grant.kind} {grant.source_key}" for grant in outcome.grants]
    return "; ".join(parts)


def _policy_settings(settings: Settings) -> Mapping[str, object]:
    return {
        "PAST_DUE_GRACE_DAYS": settings.past_due_grace_days,
        "TOKEN_POLICY": settings.token_policy.value,
        "TOKEN_TTL_DAYS": settings.token_ttl_days,
        "TRIAL_TOKENS": settings.trial_tokens,
    }


def _policy_text(settings: Settings) -> str:
    values = _policy_settings(settings).items()
    return ", ".join(f"{name}={'none' if value is None else value}" for name, value in values)


def _bar(*, quiet: bool) -> Progress:
    """A progress bar, shown only on a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, transient=True, disable=quiet or not sys.stdout.isatty())
