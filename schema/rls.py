"""Row-level security, as SQL: a signed-in user reads their own rows of `public`, through PostgREST or Supabase.

The user's id is the claim `sub` of the request's token, which PostgREST sets. Users may only read: if they could update their
own row, they could give themselves tokens. The roles of the daemon and the application see every row, and policies do not
apply to the owner. The statements can be repeated at any time.
"""

from schema.base import metadata

# Tables whose rows belong to one user, and the column with the user's id.
OWN_ROWS = {
    "users": "id",
    "stripe_customers": "user_id",
    "user_subscriptions": "user_id",
    "user_features": "user_id",
    "payment_history": "user_id",
}
CATALOGUE = ("stripe_products", "stripe_prices")
# Tables for signing in. They contain tokens of sessions and of other services, so neither users nor visitors may read them.
CLOSED = ("accounts", "sessions", "verification_tokens")

# As a subquery, this is evaluated once per statement instead of once per row.
USER_ID = """(select coalesce(
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub',
    nullif(current_setting('request.jwt.claim.sub', true), '')
))"""


def statements(*, worker: str, application: str, reader: str | None, user: str, anonymous: str) -> str:
    """Return the SQL.

    `user` is the role of signed-in users, and `anonymous` is the role of other visitors. Missing roles are created.
    """
    servants = ", ".join(_quoted(role) for role in (worker, application, reader) if role)
    visitors = f"{_quoted(user)}, {_quoted(anonymous)}"
    lines = [
        "-- Row-level security on the tables of public. Run it as the tables' owner, after `db roles` and `db migrate`.",
        "begin;",
        *(_role(role) for role in (user, anonymous)),
        f"grant usage on schema public to {visitors};",
    ]
    for table in _tables():
        lines += [
            f"alter table public.{table} enable row level security;",
            f"revoke all on public.{table} from {visitors};",
            *_policy(table, "stripe_sync_all", f"for all to {servants} using (true) with check (true)"),
        ]
        if table in OWN_ROWS:
            rule = f"for select to {_quoted(user)} using ({OWN_ROWS[table]}::text = {USER_ID})"
            lines += [*_policy(table, "stripe_sync_own", rule), f"grant select on public.{table} to {_quoted(user)};"]
        elif table in CATALOGUE:
            rule = f"for select to {visitors} using (true)"
            lines += [*_policy(table, "stripe_sync_read", rule), f"grant select on public.{table} to {visitors};"]
        elif table == "organizations":
            own = f"select organization_id from public.users where id::text = {USER_ID}"  # noqa: S608 - a constant
            rule = f"for select to {_quoted(user)} using (id in ({own}))"
            lines += [*_policy(table, "stripe_sync_own", rule), f"grant select on public.{table} to {_quoted(user)};"]
    return "\n".join([*lines, "commit;", ""])


def _tables() -> list[str]:
    return sorted(table.name for table in metadata.tables.values() if table.schema is None)


def _policy(table: str, name: str, rule: str) -> tuple[str, str]:
    return (
        f"drop policy if exists {name} on public.{table};",
        f"create policy {name} on public.{table} {rule};",
    )


def _role(name: str) -> str:
    literal = "'" + name.replace("'", "''") + "'"
    return (
        f"do $do$ begin if not exists (select from pg_roles where rolname = {literal}) then "
        f"create role {_quoted(name)} nologin; end if; end $do$;"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
