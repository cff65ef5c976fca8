"""`stripe-sync membership`: what products or settings that have changed would make of everyone, and doing it."""

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import psycopg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker.cli.output import fail, say, say_json
from worker.cli.people import find, quiet_settings
from worker.config.settings import Settings
from worker.jobs.tasks import policy_of
from worker.membership import compute, recompute_all
from worker.membership.rules.outcome import COLUMNS, Outcome
from worker.postgres.pool import connect

__all__ = ["app"]

app = typer.Typer(
    help="Compute users anew, because products' metadata or the settings have changed.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Users = Annotated[list[str] | None, typer.Argument(help="Ids or e-mails; everyone otherwise.")]

INTERRUPTED = 130


@dataclass(slots=True)
class _Tally:
    """What a plan comes to."""

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


@app.command()
def plan(
    users: Users = None,
    limit: Annotated[int, typer.Option(min=0, help="How many users to print; all are counted.")] = 100,
    as_json: Json = False,
) -> None:
    """Show whom `apply` would change, and how, with the settings of this environment. Nothing is written or locked."""
    settings = quiet_settings()
    tally = _Tally()
    with connect(settings, application="plan") as conn:
        only = _chosen(conn, users)
        found = _planned(conn, settings, only, tally)
        if as_json:
            _print_json(settings, found, tally, limit=limit)
            return
        say(f"By the products' metadata in the mirror, and {_words_of(settings)}. Nothing is written.")
        printed = 0
        for user, outcome in found:
            if printed < limit:
                say(f"  {user}: {_words(outcome)}")
                printed += 1
        _say_tally(tally, printed)


@app.command()
def apply(
    users: Users = None,
    restart: Annotated[bool, typer.Option("--restart", help="From the first user, not from where it stopped.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Users a transaction.")] = recompute_all.BATCH,
    as_json: Json = False,
) -> None:
    """Compute users anew, with the settings of this environment: give workers the same first, for they compute too.

    Where it was interrupted it goes on, unless products or settings have changed since. Twice changes nothing.
    """
    settings = quiet_settings()
    if users:
        _apply_to(settings, users, as_json=as_json)
        return
    done: recompute_all.Progress | None = None
    if not as_json:
        say(f"Computing by the products' metadata in the mirror, and {_words_of(settings)}.")
    try:
        with _bar(quiet=as_json) as bar:
            task = bar.add_task("users", total=None)
            steps = recompute_all.apply(
                lambda: connect(settings, application="apply"), policy_of(settings), restart=restart, batch=batch
            )
            for done in steps:
                if done.users == done.resumed and done.resumed and not as_json:
                    bar.console.print(f"Going on behind the {done.resumed:,} users that were done before.")
                bar.update(task, completed=done.users, total=done.of)
    except KeyboardInterrupt:
        reached = f"{done.users:,} of {done.of:,} users are done" if done else "nothing was done"
        say(f"Interrupted: {reached}, all of them whole. `stripe-sync membership apply` goes on from there.")
        raise typer.Exit(INTERRUPTED) from None
    assert done is not None
    if as_json:
        say_json({"users": done.users, "changed": done.changed, "resumed": done.resumed, "outdated": done.outdated})
    else:
        say(f"Users computed: {done.users:,}, changed: {done.changed:,}.")
        if done.outdated:
            say("Products changed meanwhile: run it once more for those that were computed before.")


def _apply_to(settings: Settings, users: Collection[str], *, as_json: bool) -> None:
    with connect(settings, application="apply") as conn:
        chosen = _chosen(conn, users) or []
        with conn.transaction():
            changed = compute.compute(conn, chosen, policy_of(settings), concerned_only=True)
    if as_json:
        say_json({"users": len(chosen), "changed": len(changed)})
    else:
        named = f" ({', '.join(changed)})" if changed else ""
        say(f"Users computed: {len(chosen):,}, changed: {len(changed):,}{named}.")


def _chosen(conn: psycopg.Connection, users: Collection[str] | None) -> list[str] | None:
    """The ids of those who are named, None where everyone is meant."""
    if not users:
        return None
    ids = [find(conn, user)["id"] for user in users]
    if left := sorted(set(ids) - recompute_all.concerned(conn, ids)):
        fail(
            f"{', '.join(left)}: no customer is linked, no override given and no organization paid for, so nothing is ever "
            "computed (`stripe-sync link CUSTOMER USER` links one)"
        )
    return sorted(set(ids))


def _planned(
    conn: psycopg.Connection, settings: Settings, only: Collection[str] | None, tally: _Tally
) -> Iterator[tuple[str, Outcome]]:
    """Who would change, in the order of their ids, counted on the way."""
    for piece in recompute_all.plan(conn, policy_of(settings), only=only):
        tally.users += piece.users
        for user, outcome in piece.changing.items():
            tally.add(outcome)
            yield user, outcome


def _say_tally(tally: _Tally, printed: int) -> None:
    if (left := tally.changing - printed) > 0:
        say(f"  ... and {left:,} more (--limit)")
    by_column = ", ".join(f"{column} of {count:,}" for column, count in tally.columns.items() if count)
    said = f"{tally.changing:,} of {tally.users:,} users would change"
    said += f": {by_column}" if by_column else ""
    said += f"; {tally.grants:,} rows in the ledger, {tally.tokens:+,} tokens" if tally.grants else ""
    say(f"{said}. `stripe-sync membership apply` does it." if tally.changing or tally.grants else f"{said}.")


def _print_json(settings: Settings, found: Iterator[tuple[str, Outcome]], tally: _Tally, *, limit: int) -> None:
    """One document, written as it is found: a change is not held until the end."""
    out = sys.stdout
    out.write('{\n  "settings": ' + json.dumps(_said_of(settings)) + ',\n  "changes": [')
    printed = 0
    for user, outcome in found:
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
        "columns": {column: change._asdict() for column, change in outcome.changes.items()},
        "grants": [
            {"source_key": grant.source_key, "kind": grant.kind, "amount": grant.amount} for grant in outcome.grants
        ],
    }


def _words(outcome: Outcome) -> str:
    parts = [f"{column} {_word(old)} -> {_word(new)}" for column, (old, new) in outcome.changes.items()]
    parts += [f"ledger {grant.amount:+,} {grant.kind} {grant.source_key}" for grant in outcome.grants]
    return "; ".join(parts)


def _word(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _said_of(settings: Settings) -> Mapping[str, object]:
    return {
        "PAST_DUE_GRACE_DAYS": settings.past_due_grace_days,
        "TOKEN_POLICY": settings.token_policy.value,
        "TOKEN_TTL_DAYS": settings.token_ttl_days,
        "TRIAL_TOKENS": settings.trial_tokens,
    }


def _words_of(settings: Settings) -> str:
    return ", ".join(f"{name}={'none' if value is None else value}" for name, value in _said_of(settings).items())


def _bar(*, quiet: bool) -> Progress:
    """On a terminal alone: a file has no use for a bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, transient=True, disable=quiet or not sys.stdout.isatty())
