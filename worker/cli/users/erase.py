"""The work of `stripe-sync erase`: blank a person's data, but keep amounts and the ledger."""

import sys
from dataclasses import asdict

import psycopg
import typer
from rich.progress import Progress

from worker.cli import database
from worker.cli.output import fail, say, say_json, say_table
from worker.cli.users.find import find
from worker.membership import compute
from worker.membership.compute import policy_of
from worker.membership.store import links
from worker.privacy import erase as erasure
from worker.privacy import store as privacy_store
from worker.privacy.erase import Person

# The remaining steps for the operator, printed after every erasure.
REMAINING = (
    "Stripe still holds the data: redact the customer there too (Dashboard, Settings, Compliance, Data redaction). "
    "Earlier backups, the application's own tables and its logs are not changed. After restoring an earlier backup, erase again."
)


def run(user: str | None, *, even_if_subscribed: bool, yes: bool, dry_run: bool, list_: bool, as_json: bool) -> None:
    """Erase a user, or a customer without a user; or list what has been erased."""
    settings = database.load_with_membership()
    with database.connect(settings, application="erase") as conn:
        if list_:
            _list(conn, as_json=as_json)
            return
        if user is None:
            fail("name a user (id or e-mail) or a customer, or use --list")
        person = _person(conn, user)
        if person.live and not even_if_subscribed:
            live = ", ".join(f"{id_} ({status})" for id_, status in person.live.items())
            fail(
                f"{_id(person)} has a subscription that has not ended: {live}. Cancel it in Stripe first, or use "
                "--even-if-subscribed: the subscription then continues, and its new invoices are blanked as they arrive"
            )
        if not as_json:
            _say_plan(person)
        if dry_run:
            if as_json:
                say_json(_as_json(person))
            return
        if not yes:
            _confirm(person)
        if as_json:
            rows = erasure.erase(conn, person)
        else:
            with Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
                task = bar.add_task("searching the inbox")
                rows = erasure.erase(conn, person, progress=lambda at, of: bar.update(task, completed=at, total=of))
        with conn.transaction():
            compute.compute(conn, [person.user] if person.user else [], policy_of(settings))
        changed = {table: count for table, count in sorted(rows.items()) if count}
        if as_json:
            say_json({**_as_json(person), "changed": changed, "remaining": REMAINING})
            return
        say(f"{_id(person)} is erased: {sum(changed.values())} rows were blanked or removed.")
        say_table(("table", "rows"), ({"table": table, "rows": count} for table, count in changed.items()))
        say(REMAINING)


def _person(conn: psycopg.Connection, named: str) -> Person:
    if named.startswith("cus_"):
        if not links.is_mirrored(conn, named):
            fail(f"there is no customer {named} in the mirror")
        user = links.stored_links(conn, [named]).get(named) or links.application_link(conn, named)
        if user is not None:
            fail(f"{named} is a customer of the user {user}: erase {user}")
        return erasure.look(conn, user="", email=None, customers=[named])
    owner = find(conn, named)
    return erasure.look(conn, user=owner["id"], email=owner["email"])


def _id(person: Person) -> str:
    return person.user or ", ".join(person.customers)


def _say_plan(person: Person) -> None:
    say(f"Erasing {_id(person)} permanently blanks or removes personal data, in at most these rows:")
    say_table(("table", "rows"), ({"table": table, "rows": rows} for table, rows in person.rows.items() if rows))
    say(f"Customers: {', '.join(person.customers) or 'none'}.")
    if person.same_email:
        say(f"Also customers without a user that have the same e-mail: {', '.join(person.same_email)}.")
    if person.sessions:
        say(f"Also Checkout sessions without a customer: {', '.join(person.sessions)}.")
    say("Ids, amounts, dates, states, role, tokens, payments and the ledger stay.")


def _confirm(person: Person) -> None:
    if not sys.stdin.isatty():
        fail("nothing was changed: there is no terminal to confirm at, so use --yes")
    if not typer.confirm(f"Erase {_id(person)}?"):
        fail("nothing was changed")


def _as_json(person: Person) -> dict[str, object]:
    """The plan without the e-mail, because the output may be kept."""
    return {name: value for name, value in asdict(person).items() if name != "email"}


def _list(conn: psycopg.Connection, *, as_json: bool) -> None:
    rows = privacy_store.listed(conn)
    if as_json:
        say_json(rows)
    else:
        say_table(("object", "id", "user_id", "erased_at", "swept_at"), rows)
