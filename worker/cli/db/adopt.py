"""`stripe-sync db adopt`: add our tables to an application's database, without changing its own objects."""

import sys

import psycopg
import typer

import migrations
from worker.adoption import adopt as job
from worker.adoption import store as adoption_store
from worker.adoption.adopt import Report
from worker.adoption.rules.findings import Verdict
from worker.cli.output import fail, say, say_json, say_table
from worker.config import settings as config
from worker.config.settings import AppEnv, Settings
from worker.membership.compute import policy_of
from worker.observe import log
from worker.postgres import inventory
from worker.postgres.pool import connect_as_owner


def run(*, apply: bool, relax: bool, sql: bool, settle: bool, yes: bool, as_json: bool) -> None:
    """Compare an application's database with our schema. `apply` adds what is missing, and changes nothing else."""
    if apply + sql + settle > 1:
        fail("use only one of --apply, --sql and --settle")
    if relax and not apply:
        fail("--relax needs --apply")
    settings = config.load()
    log.configure(settings.model_copy(update={"log_level": "warning"}))
    with connect_as_owner(settings, application="adopt") as conn:
        sys.stderr.write(f"{_target(conn, settings)}\n")
        if settle:
            _settle(conn, settings, as_json=as_json, yes=yes)
            return
        report = job.look(conn, settings.names, is_membership=settings.membership, views_schema=settings.stripe_schema)
        if sql:
            _print_sql(report)
        elif not apply:
            _say_report(report, as_json=as_json)
        else:
            _apply(conn, settings, report, relax=relax, as_json=as_json, yes=yes)
        if report.of(Verdict.CONFLICT):
            raise typer.Exit(1)


def set_up_mirror_alone(settings: Settings) -> None:
    """Set up an empty database without the tables of `public`, for MEMBERSHIP=off."""
    with connect_as_owner(settings, application="migrate") as conn:
        job.adopt(conn, settings.names, is_membership=False, views_schema=settings.stripe_schema)


def refuse_unadopted(settings: Settings, conn: psycopg.Connection) -> None:
    """End the command with a message if the database must be adopted before it is migrated."""
    revision, adoption = inventory.revision(conn), adoption_store.adopted(conn)
    is_apart = adoption is not None and "users" in adoption.names.left_out
    if revision is None and settings.names.mapped:
        fail("STRIPE_SYNC_CONFIG names tables of an application: run `stripe-sync db adopt` instead of a migration")
    if is_apart and settings.membership and revision == migrations.head():
        fail("this database was set up with MEMBERSHIP=off: `stripe-sync db adopt --apply` adds the users' tables")


def _apply(
    conn: psycopg.Connection, settings: Settings, report: Report, *, relax: bool, as_json: bool, yes: bool
) -> None:
    if report.of(Verdict.CONFLICT):
        _say_report(report, as_json=as_json)
        return
    missing, strict = len(report.of(Verdict.MISSING)), [one for one in report.findings if one.relaxes is not None]
    if relax and strict:
        listed = "\n  ".join(str(one.relaxes) for one in strict)
        _ask(settings, f"Add {missing} missing things, and drop these constraints?\n  {listed}\n", yes=yes)
    elif missing:
        _ask(settings, f"Add {missing} missing things? Existing objects are not changed.", yes=yes)
    try:
        done = job.adopt(
            conn,
            settings.names,
            is_membership=settings.membership,
            relax=relax,
            views_schema=settings.stripe_schema,
        )
    except psycopg.errors.LockNotAvailable:
        fail(
            f"a table was in use for longer than {migrations.LOCK_TIMEOUT}: nothing was changed. Try again when the "
            "database is less busy; pg_locks shows which session holds the lock"
        )
    if as_json:
        counted = {
            "added": done.added,
            "relaxed": done.relaxed,
            "overrides": done.overrides,
            "token_holders": done.token_holders,
        }
        say_json({**counted, "findings": _listed(done.report)})
        return
    say(f"{done.added} things were added." if done.added else "Nothing was missing; nothing was changed.")
    if done.relaxed:
        say(f"NOT NULL was dropped from {done.relaxed} columns. Rows that were held back are written now.")
    elif strict:
        listed = ", ".join(f"{one.table} {one.what.removeprefix('column ')}" for one in strict)
        say(f"Rows without a value from Stripe in these columns are held back (NOT NULL; --relax drops it): {listed}.")
    if done.overrides:
        say(
            f"{done.overrides} users are PREMIUM today. Each now has an override (note: {adoption_store.ADOPTED}), which keeps "
            "the role. Run `stripe-sync sync all`, then `stripe-sync db adopt --settle`, which lifts the overrides that a "
            "subscription makes unnecessary."
        )

    if done.token_holders:
        say(
            f"{done.token_holders} users hold tokens that the application gave them, so payments from before the adoption "
            "grant no tokens."
        )


def _settle(conn: psycopg.Connection, settings: Settings, *, as_json: bool, yes: bool) -> None:
    _ask(settings, "Lift the overrides that a subscription makes unnecessary?", yes=yes)
    settled = job.settle(conn, policy_of(settings))
    rows = [
        {"user": one.user, "email": one.email, "override": "lifted" if one.lifted else "kept", "why": one.why}
        for one in settled
    ]
    if as_json:
        say_json(rows)
        return
    if rows:
        say_table(("user", "email", "override", "why"), rows)
    kept = sum(not one.lifted for one in settled)
    say(
        f"{len(settled) - kept} overrides were lifted, {kept} stay."
        + (" `stripe-sync override USER --lift` lifts one that should not stay." if kept else "")
    )


def _say_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        say_json(_listed(report))
        return
    say_table(
        ("table", "what", "verdict", "reason"),
        (
            {"table": one.table, "what": one.what, "verdict": one.verdict.value, "reason": one.reason}
            for one in report.findings
        ),
    )
    counted = ", ".join(f"{len(those)} {verdict.value}" for verdict in Verdict if (those := report.of(verdict)))
    say(f"\n{counted}.")
    if report.of(Verdict.CONFLICT):
        conclusion = (
            "Conflicts block: fix them, or name other tables and columns (STRIPE_SYNC_CONFIG). Nothing was changed."
        )
    elif report.of(Verdict.MISSING):
        conclusion = "`stripe-sync db adopt --apply` adds what is missing, and changes no existing object (--sql prints the SQL)."
    else:
        conclusion = "Nothing is missing."
    say(conclusion)


def _print_sql(report: Report) -> None:
    for statement in report.statements:
        sys.stdout.write(f"{statement};\n\n")


def _listed(report: Report) -> list[dict[str, object]]:
    return [
        {
            "table": one.table or None,
            "what": one.what,
            "verdict": one.verdict.value,
            "reason": one.reason,
            "statements": [statement.strip() for statement in one.statements],
        }
        for one in report.findings
    ]


def _ask(settings: Settings, question: str, *, yes: bool) -> None:
    """In production, end the command unless a person confirms, at a terminal or with --yes."""
    if settings.app_env is not AppEnv.PRODUCTION or yes:
        return
    if not sys.stdin.isatty():
        fail("this is production (APP_ENV): use --yes, or run it at a terminal")
    if not typer.confirm(question, err=True):
        raise typer.Abort


def _target(conn: psycopg.Connection, settings: Settings) -> str:
    """The environment and the target database, without a password."""
    at = conn.info
    return f"{settings.app_env}: database {at.dbname} at {at.host or 'a local socket'}:{at.port}, as {at.user}"
