"""`stripe-sync erase`: forget a person, and keep what they paid."""

import sys
from dataclasses import asdict
from typing import Annotated

import psycopg
import typer
from rich.progress import Progress

from worker.cli.output import fail, say, say_json, say_table
from worker.cli.people import find, quiet_settings
from worker.jobs.tasks import policy_of
from worker.membership import compute
from worker.membership.store import links
from worker.postgres.pool import connect
from worker.privacy import erase as erasure
from worker.privacy import store as privacy_store
from worker.privacy.erase import Person

__all__ = ["register"]

STRIPE = (
    "Stripe still has it all: have the customer redacted there too (Dashboard, Settings, Compliance, Data redaction: a "
    "redaction job). Backups made before, tables of the application's own, and its logs, are not touched; after a restore "
    "from such a backup, erase again."
)


def register(app: typer.Typer) -> None:
    """Give the root its command."""
    app.command()(erase)


def erase(
    named: Annotated[
        str | None, typer.Argument(metavar="USER", help="A user's id or e-mail, or the id of a customer who is nobody.")
    ] = None,
    even_if_subscribed: Annotated[
        bool, typer.Option("--even-if-subscribed", help="Also where a subscription has not ended.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask: for scripts.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List who was erased.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Blank a person's data in users, mirror and inbox, for good; role, tokens, payments and the ledger stay."""
    settings = quiet_settings()
    with connect(settings, application="erase") as conn:
        if list_:
            _list(conn, as_json=as_json)
            return
        if named is None:
            fail("name a user (id or e-mail) or a customer, or say --list")
        person = _person(conn, named)
        if person.live and not even_if_subscribed:
            live = ", ".join(f"{id_} ({status})" for id_, status in person.live.items())
            fail(
                f"{_who(person)} has a subscription that has not ended: {live}. Cancel it in Stripe first, or say "
                "--even-if-subscribed: it then goes on, and its new invoices are blanked as they come"
            )
        if not as_json:
            _say_plan(person)
        if dry_run:
            if as_json:
                say_json(_as_json(person))
            return
        if not yes:
            _ask(person)
        if as_json:
            done = erasure.erase(conn, person)
        else:
            with Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
                task = bar.add_task("looking through the inbox")
                done = erasure.erase(conn, person, progress=lambda at, of: bar.update(task, completed=at, total=of))
        with conn.transaction():
            compute.compute(conn, [person.user] if person.user else [], policy_of(settings))
        changed = {table: rows for table, rows in sorted(done.items()) if rows}
        if as_json:
            say_json({**_as_json(person), "changed": changed, "mend_in_stripe": STRIPE})
            return
        say(f"{_who(person)} is erased: {sum(changed.values())} rows were blanked or removed.")
        say_table(("table", "rows"), ({"table": table, "rows": rows} for table, rows in changed.items()))
        say(STRIPE)


def _person(conn: psycopg.Connection, named: str) -> Person:
    if named.startswith("cus_"):
        if not links.is_mirrored(conn, named):
            fail(f"there is no customer {named} in the mirror")
        user = links.stored_links(conn, [named]).get(named) or links.application_link(conn, named)
        if user is not None:
            fail(f"{named} is a customer of the user {user}: erase {user}")
        return erasure.look(conn, user="", email=None, customers=[named])
    found = find(conn, named)
    return erasure.look(conn, user=found["id"], email=found["email"])


def _who(person: Person) -> str:
    return person.user or ", ".join(person.customers)


def _say_plan(person: Person) -> None:
    say(f"Erasing {_who(person)} blanks or removes what is personal, for good, in at most these rows:")
    say_table(("table", "rows"), ({"table": table, "rows": rows} for table, rows in person.rows.items() if rows))
    say(f"Customers: {', '.join(person.customers) or 'none'}.")
    if person.same_email:
        say(f"Also customers who are nobody's and have the same e-mail: {', '.join(person.same_email)}.")
    if person.sessions:
        say(f"Also Checkout sessions without a customer: {', '.join(person.sessions)}.")
    say("Ids, amounts, dates, states, role, tokens, payments and the ledger stay.")


def _ask(person: Person) -> None:
    if not sys.stdin.isatty():
        fail("nothing was done: say --yes where nobody can be asked")
    if not typer.confirm(f"Erase {_who(person)}?"):
        fail("nothing was done")


def _as_json(person: Person) -> dict[str, object]:
    """All but the e-mail: what is printed may be kept."""
    return {name: value for name, value in asdict(person).items() if name != "email"}


def _list(conn: psycopg.Connection, *, as_json: bool) -> None:
    rows = privacy_store.listed(conn)
    if as_json:
        say_json(rows)
    else:
        say_table(("object", "id", "user_id", "erased_at", "swept_at"), rows)
