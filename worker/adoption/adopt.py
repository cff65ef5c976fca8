"""Adopt an existing database: compare it with our schema, add what is missing, and keep the users' roles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psycopg
from psycopg import sql

import migrations
from schema import NAMES_SCHEMA, VIEWS_SCHEMA
from schema.names import Names
from schema.states import UserRole
from worker.adoption import store as adoption_store
from worker.adoption.rules.compare import names_of
from worker.adoption.rules.findings import Finding, Found, Verdict
from worker.adoption.rules.whole import compare
from worker.config.errors import Permanent
from worker.membership import compute
from worker.membership.rules import access
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import Product, User
from worker.membership.store import held_rows, load_facts, save, save_rows
from worker.postgres import inventory


class NotAdoptable(Permanent):
    """The database conflicts with our schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings on a database, in the order in which missing parts will be added."""

    findings: tuple[Finding, ...]
    names: Names
    actual: Found

    def of(self, *verdicts: Verdict) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict in verdicts]

    @property
    def statements(self) -> list[str]:
        """The statements to run; statements that add enum labels come first."""
        ordered = sorted(self.of(Verdict.MISSING), key=lambda finding: not finding.early)
        return [statement.strip() for finding in ordered for statement in finding.statements]

    @property
    def takes_users_over(self) -> bool:
        """Whether the daemon begins to manage users with this adoption."""
        before = self.actual.names
        were = self.actual.revision is not None and (before is None or "users" not in before.left_out)
        return not were and "users" not in self.names.left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """The result of an adoption.

    `added` counts the missing parts, `overrides` the users who keep their role by an override, and `relaxed` the dropped
    constraints. `token_holders` counts users with tokens from the application. If there are any, payments before the
    adoption grant no tokens.
    """

    report: Report
    added: int
    overrides: int
    token_holders: int
    relaxed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The result for one override of an adoption: lifted if a subscription backs the role (see `settle`), else kept."""

    user: str
    email: str | None
    lifted: bool
    why: str


def look(conn: psycopg.Connection, given: Names, *, is_membership: bool, views_schema: str | None = None) -> Report:
    """Compare the database with our schema. Nothing is changed."""
    with conn.transaction():
        return _compared(conn, given, is_membership=is_membership, views_schema=views_schema)


def adopt(
    conn: psycopg.Connection,
    given: Names,
    *,
    is_membership: bool,
    relax: bool = False,
    views_schema: str | None = None,
) -> Adopted:
    """Add everything that is missing in one transaction.

    New enum labels are committed before it, because a label can't be used in the transaction that adds it. `relax` drops
    NOT NULL from columns for which our rows may have no value. A second run changes nothing. Raises NotAdoptable, without
    changing anything, if there are conflicts.
    """
    first = look(conn, given, is_membership=is_membership, views_schema=views_schema)
    _refuse_conflicts(first)
    for finding in first.of(Verdict.MISSING):
        if finding.early:
            adoption_store.add(conn, [finding])
    with conn.transaction():
        conn.execute("select pg_advisory_xact_lock(%s)", (migrations.LOCK_KEY,))
        for setting, value in (
            ("lock_timeout", migrations.LOCK_TIMEOUT),
            ("statement_timeout", migrations.STATEMENT_TIMEOUT),
        ):
            conn.execute(sql.SQL("set local {} = {}").format(sql.Identifier(setting), sql.Literal(value)))
        report = _compared(conn, given, is_membership=is_membership, views_schema=views_schema)
        _refuse_conflicts(report)
        adoption_store.add(conn, report.of(Verdict.MISSING))
        relaxed = [finding.relaxes for finding in report.findings if finding.relaxes is not None] if relax else []
        for statement in relaxed:
            conn.execute(statement.encode())
        overrides = adoption_store.keep_roles(conn, report.names) if report.takes_users_over else 0
        holders = adoption_store.holders(conn, report.names) if report.takes_users_over else 0
        before = adoption_store.adopted(conn)
        if report.actual.revision is None or before is not None or report.names.needs_schema:
            now = datetime.now(UTC)
            adopted_at, tokens_since = (before.adopted_at, before.tokens_since) if before else (now, None)
            if report.takes_users_over:
                adopted_at, tokens_since = now, now if holders else None
            adoption_store.record(conn, adoption_store.Adoption(report.names, adopted_at, tokens_since))
        if report.takes_users_over and report.actual.revision is not None:
            # The users of the rows already in the mirror were never computed. Stripe's lists will show these rows as
            # unchanged, so nothing else would compute the users.
            conn.execute("set local search_path = sync_names, public")
            adoption_store.follow_the_mirror(conn)
        if relaxed and "users" not in report.names.left_out:
            conn.execute(f"set local search_path = {NAMES_SCHEMA}, public")
            held_rows.request_again(conn)
            save_rows.retry_catalogue(conn)
    return Adopted(
        report=report,
        added=len(first.of(Verdict.MISSING)),
        overrides=overrides,
        token_holders=holders,
        relaxed=len(relaxed),
    )


def settle(conn: psycopg.Connection, policy: Policy, *, batch: int = 200) -> list[Settled]:
    """Lift the overrides of an adoption that a subscription makes unnecessary. Returns the result for each override.

    A subscription backs a role if it gives the role now. It also backs the role if it gave the role at the adoption and has
    ended since, because the user should lose the role with the subscription. A person decides on the other overrides. Raises
    NotAdoptable unless `sync all` has read Stripe completely since the adoption.
    """
    adoption = adoption_store.adopted(conn)
    if adoption is None:
        raise NotAdoptable("this database was not adopted: there is nothing to settle")
    if not adoption_store.is_read_since(conn, adoption.adopted_at):
        raise NotAdoptable(
            f"Stripe was not read completely since the adoption ({adoption.adopted_at:%Y-%m-%d %H:%M}), so it is unknown who "
            "pays: run `stripe-sync sync all`, wait until it has ended, then settle"
        )
    settled: list[Settled] = []
    after = ""
    while rows := adoption_store.held(conn, after=after, limit=batch):
        after = rows[-1]["user_id"]
        with conn.transaction():
            settled += _settle(conn, policy, rows)
    return settled


def _settle(conn: psycopg.Connection, policy: Policy, rows: Sequence[adoption_store.Row]) -> list[Settled]:
    users, products = load_facts.load(conn, load_facts.lock_users(conn, [row["user_id"] for row in rows]))
    now, actual = datetime.now(UTC), list[Settled]()
    for row in rows:
        user = users.get(row["user_id"])
        if user is None:
            continue
        why = _backing(user, products, policy, now, lived=row["lived"])
        kept = "has no customer" if not row["has_customer"] else "has no subscription that gives this role"
        actual.append(Settled(user=user.id, email=row["email"], lifted=why is not None, why=why or kept))
    lifted = [one.user for one in actual if one.lifted]
    for user_id in lifted:
        save.lift_override(conn, user_id)
    compute.compute(conn, lifted, policy)
    return actual


def _backing(
    user: User, products: dict[str, Product], policy: Policy, now: datetime, *, lived: Sequence[str]
) -> str | None:
    if user.role not in (UserRole.USER, UserRole.PREMIUM):
        return f"is {user.role}, which no override changes"
    decided = access.project(replace(user, override=None), products, policy, now)
    if decided.role == UserRole.PREMIUM:
        return f"{decided.by} gives it"
    for subscription in user.subscriptions:
        roles = [products.get(item.product or "", Product(id="")).role for item in subscription.items]
        if subscription.id in lived and UserRole.PREMIUM in roles:
            return f"{subscription.id} gave it, and is {subscription.status} now"
    return None


def _compared(
    conn: psycopg.Connection, given: Names, *, is_membership: bool, views_schema: str | None = None
) -> Report:
    shown = views_schema or inventory.views_schema(conn) or VIEWS_SCHEMA
    actual = adoption_store.look(conn, given, views_schema=shown)
    names = names_of(given, actual, membership=is_membership)
    findings = [
        _proved(conn, finding) for finding in compare(actual, names, head=migrations.head() or "", views_schema=shown)
    ]
    return Report(findings=tuple(findings), names=names, actual=actual)


def _proved(conn: psycopg.Connection, finding: Finding) -> Finding:
    """Run the finding's query, which counts conflicting rows, and return the resulting finding."""
    if finding.proof is None:
        return finding
    try:
        with conn.transaction():
            number = adoption_store.count(conn, finding.proof.query)
    except psycopg.errors.UndefinedFunction:
        sentence = "can't be compared: the two sides have different types"
        return replace(finding, verdict=Verdict.CONFLICT, reason=sentence, statements=())
    if number == 0:
        return finding
    return replace(
        finding, verdict=finding.proof.verdict, reason=finding.proof.reason.format(number=f"{number:,}"), statements=()
    )


def _refuse_conflicts(report: Report) -> None:
    conflicts = report.of(Verdict.CONFLICT)
    if conflicts:
        listed = "\n  ".join(f"{' '.join(filter(None, (one.table, one.what)))}: {one.reason}" for one in conflicts)
        raise NotAdoptable(f"the database can't be adopted in its current state; nothing was changed:\n  {listed}")
