"""Roles of least privilege, as SQL: an owner of the tables, a worker, an application, and a reader.

The statements can be repeated at any time. They prepare an empty database for the owner's first migration, and grant all
privileges in a migrated database. Default privileges cover the tables of later revisions.
"""

from collections.abc import Mapping

from schema import NAMES_SCHEMA, VIEWS_SCHEMA, revenue
from schema.base import metadata
from schema.functions import FUNCTIONS
from schema.membership import User

# Tables that the application writes: sign-in, organizations and links. It only reads the tables about payments.
WRITTEN_BY_APPLICATIONS = ("accounts", "organizations", "sessions", "stripe_customers", "verification_tokens")
# Columns of `users` that only the daemon writes. The application spends `tokens` with consume_tokens or its own SQL.
DAEMONS_COLUMNS = frozenset({"role", "membership_status", "stripe_product_id", "tokens_expires_at", "created_at"})


def statements(
    *,
    owner: str,
    worker: str,
    application: str,
    reader: str | None = None,
    settings: Mapping[str, str] | None = None,
    views_schema: str = VIEWS_SCHEMA,
) -> str:
    """Return the SQL for these roles. `settings` are set on the worker's role, because poolers drop session settings."""
    names = [role for role in (owner, worker, application, reader) if role]
    users = ", ".join(_quoted(role) for role in names[1:])
    readers = ", ".join(_quoted(role) for role in names[2:])
    return "\n".join(
        [
            "-- Run it as a superuser, or as a role that may create roles and has owned the tables so far. Run it again after",
            "-- the first migration and after `db reset`. It sets no passwords: use \\password, or `alter role ... password`.",
            "begin;",
            *(_role(role) for role in names),
            *(
                f"alter role {_quoted(worker)} set {name} = {_value(name, value)};"
                for name, value in (settings or {}).items()
            ),
            _database(_quoted(owner), users),
            f"grant usage, create on schema public to {_quoted(owner)};",
            f"grant usage on schema public to {users};",
            *(_public_table(table, owner, worker, application, reader) for table in _public_tables()),
            _each(f"{_TYPES} and pg_get_userbyid(typowner) <> {_literal(application)}", owner),
            _each(_FUNCTIONS, owner, users),
            _ours(owner, _quoted(worker), users, readers, views_schema),
            _revenue(owner, users),
            _adopted_names(_quoted(worker)),
            "commit;",
            "",
        ]
    )


def _value(setting: str, value: str) -> str:
    """The value for `alter role`. The search_path is not quoted, because a quoted list would be one name."""
    return value if setting == "search_path" else _literal(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _block(*lines: str, declares: str | None = None) -> str:
    declaration = ["declare", f"    {declares}"] if declares else []
    return "\n".join(["do $do$", *declaration, "begin", *(f"    {line}" for line in lines), "end", "$do$;"])


def _public_tables() -> list[str]:
    return sorted(table.name for table in metadata.tables.values() if table.schema in (None, "public"))


def _role(name: str) -> str:
    return _block(
        f"if not exists (select from pg_roles where rolname = {_literal(name)}) then",
        f"    create role {_quoted(name)} login;",
        "end if;",
    )


def _database(owner: str, users: str) -> str:
    return _block(
        "if not (select rolsuper from pg_roles where rolname = current_user) then",
        f"    grant {owner} to current_user;",
        "end if;",
        _execute(f"grant connect, create on database %I to {_doubled(owner)}", "current_database()"),
        _execute(f"grant connect on database %I to {_doubled(users)}", "current_database()"),
    )


def _execute(statement: str, *arguments: str) -> str:
    """A statement that `format` builds when it runs."""
    return f"execute format({', '.join([_literal(statement), *arguments])});"


def _doubled(names: str) -> str:
    """The names, escaped for a statement that `format` builds."""
    return names.replace("%", "%%")


def _public_table(table: str, owner: str, worker: str, application: str, reader: str | None) -> str:
    """Return the grants on one table of `public`, if it exists. If the application's role owns the table, it stays the owner."""
    own = _quoted(application)
    if table == "users":
        columns = ", ".join(column.name for column in User.__table__.columns if column.name not in DAEMONS_COLUMNS)
        writes = [f"grant select, insert, delete, update ({columns}) on public.users to {own};"]
    elif table in WRITTEN_BY_APPLICATIONS:
        writes = [f"grant select, insert, update, delete on public.{table} to {own};"]
    else:
        writes = [f"grant select on public.{table} to {own};"]
    if reader is not None:
        writes.append(f"grant select on public.{table} to {_quoted(reader)};")
    return _block(
        f"if to_regclass('public.{table}') is not null then",
        f"    if (select pg_get_userbyid(relowner) from pg_class where oid = 'public.{table}'::regclass)"  # noqa: S608
        f" <> {_literal(application)} then",
        f"        alter table public.{table} owner to {_quoted(owner)};",
        "    end if;",
        f"    grant select, insert, update, delete on public.{table} to {_quoted(worker)};",
        *(f"    {grant}" for grant in writes),
        "end if;",
    )


_ANALYTICS = f"""
        select 'view' as kind, oid::regclass::text as name
        from pg_class
        where relnamespace = to_regnamespace('{revenue.SCHEMA}')
            and relname in ({", ".join(map(_literal, revenue.VIEWS))})"""  # noqa: S608
_TABLES = """
        select case relkind when 'v' then 'view' else 'table' end as kind, oid::regclass::text as name
        from pg_class
        where relnamespace in ('sync'::regnamespace, 'mirror'::regnamespace, '{views}'::regnamespace)
            and relkind in ('r', 'p', 'v')"""
_TYPES = """
        select 'type' as kind, oid::regtype::text as name
        from pg_type
        where typnamespace = 'public'::regnamespace and typname in ('user_role', 'membership_status')"""
# Functions are found by name, because revisions may change their arguments.
_FUNCTIONS = f"""
        select 'function' as kind, oid::regprocedure::text as name
        from pg_proc
        where pronamespace::regnamespace::text || '.' || proname in ({", ".join(map(_literal, sorted(FUNCTIONS)))})"""  # noqa: S608


def _each(query: str, owner: str, users: str | None = None) -> str:
    """Return the SQL that changes the owner of each object in the query's result, and grants its use to the other roles."""
    grant = _execute(f"grant execute on %s %s to {_doubled(users)}", "ours.kind", "ours.name") if users else "null;"
    return _block(
        f"for ours in{query}",
        "loop",
        "    " + _execute("alter %s %s owner to %I", "ours.kind", "ours.name", _literal(owner)),
        f"    {grant}",
        "end loop;",
        declares="ours record;",
    )


def _ours(owner: str, worker: str, users: str, readers: str, shown: str) -> str:
    """Return the SQL for owners, grants and default privileges in the schemas that only we use, if they exist."""
    by = f"alter default privileges for role {_quoted(owner)} in schema"
    return _block(
        f"if to_regnamespace('sync') is null or to_regnamespace('{shown}') is null then",
        "    raise notice 'There are no tables of ours yet: migrate as the owner, then run this again.';",
        "    return;",
        "end if;",
        f"alter schema sync owner to {_quoted(owner)};",
        f"alter schema mirror owner to {_quoted(owner)};",
        f"alter schema {shown} owner to {_quoted(owner)};",
        f"for ours in{_TABLES.format(views=shown)}",
        "loop",
        "    " + _execute("alter %s %s owner to %I", "ours.kind", "ours.name", _literal(owner)),
        "end loop;",
        f"grant usage on schema mirror, sync to {worker};",
        f"grant usage on schema {shown} to {users};",
        f"grant select, insert, update, delete on all tables in schema mirror, {shown}, sync to {worker};",
        f"grant usage, select on all sequences in schema mirror, sync to {worker};",
        f"grant select on all tables in schema {shown} to {readers};",
        f"{by} public, mirror, {shown}, sync grant select, insert, update, delete on tables to {worker};",
        f"{by} public, mirror, sync grant usage, select on sequences to {worker};",
        f"{by} public, {shown} grant select on tables to {readers};",
        declares="ours record;",
    )


def _revenue(owner: str, users: str) -> str:
    """Return the SQL for owners and grants of our views in `analytics`, a schema that other tools may use too."""
    return _block(
        f"if to_regnamespace('{revenue.SCHEMA}') is null then",
        "    return;",
        "end if;",
        f"grant usage, create on schema {revenue.SCHEMA} to {_quoted(owner)};",
        f"grant usage on schema {revenue.SCHEMA} to {users};",
        f"for ours in{_ANALYTICS}",
        "loop",
        "    " + _execute("alter %s %s owner to %I", "ours.kind", "ours.name", _literal(owner)),
        "    " + _execute(f"grant select on %s to {_doubled(users)}", "ours.name"),
        "end loop;",
        f"alter default privileges for role {_quoted(owner)} in schema {revenue.SCHEMA} grant select on tables to {users};",
        declares="ours record;",
    )


def _adopted_names(worker: str) -> str:
    """Return the SQL for grants on the views in `sync_names`, if the database was adopted."""
    return _block(
        f"if to_regnamespace('{NAMES_SCHEMA}') is not null then",
        f"    grant usage on schema {NAMES_SCHEMA} to {worker};",
        f"    grant select, insert, update, delete on all tables in schema {NAMES_SCHEMA} to {worker};",
        "end if;",
    )
