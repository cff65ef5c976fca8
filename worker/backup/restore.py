"""Restore a dump into an empty database."""

from collections.abc import Callable

import psycopg

from worker.backup import folder, tools
from worker.backup.folder import Backup, BackupError
from worker.backup.policy import Kind, newest
from worker.backup.take import DUMP
from worker.config.settings import Settings


def choose(settings: Settings, wanted: str | None, kind: Kind) -> Backup:
    """The backup with this name, or else the newest of the environment. Raises BackupError if there is none."""
    root = folder.folder(settings)
    held = {str(backup.name): backup for backup in folder.list_backups(root)}
    if wanted is not None:
        if wanted not in held:
            raise BackupError(f"there is no backup {wanted} in {root}: `stripe-sync db backups` lists them")
        if held[wanted].name.kind is not kind:
            raise BackupError(f"{wanted} is a {held[wanted].name.kind} backup, but a {kind} backup is needed here")
        return held[wanted]
    name = newest((backup.name for backup in held.values()), environment=settings.app_env, kind=kind)
    if name is None:
        raise BackupError(
            f"there is no {kind} backup of {settings.app_env} in {root} (APP_ENV, BACKUP_DIR): name a backup of another "
            "environment"
        )
    return held[str(name)]


def contents(conn: psycopg.Connection) -> list[str]:
    """The schemas, tables, views, functions and types that could collide with a restore. Extensions' objects are left out."""
    rows = conn.execute(
        """
        with held as (
            select 'schema ' || nspname as what, oid, 'pg_namespace'::regclass as class
            from pg_namespace
            where nspname <> 'public'
            union all
            select nspname || '.' || relname, c.oid, 'pg_class'::regclass
            from pg_class as c join pg_namespace as n on n.oid = relnamespace
            where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
            union all
            select nspname || '.' || proname || '()', p.oid, 'pg_proc'::regclass
            from pg_proc as p join pg_namespace as n on n.oid = pronamespace
            union all
            select 'type ' || nspname || '.' || typname, t.oid, 'pg_type'::regclass
            from pg_type as t join pg_namespace as n on n.oid = typnamespace
            where typtype in ('e', 'd')
        )
        select what from held
        where what !~ '^(schema |type )?(pg_|information_schema)'
            and not exists (
                select from pg_depend as d where d.objid = held.oid and d.classid = held.class and d.deptype = 'e'
            )
        order by what
        """
    ).fetchall()
    return [what for (what,) in rows]


def missing_roles(settings: Settings, backup: Backup, conn: psycopg.Connection) -> list[str]:
    """Owners in the dump that do not exist on the server."""
    program = tools.find(settings, "pg_restore", at_least=tools.major_of(conn))
    listed = tools.run([str(program), "--list", str(backup.path / DUMP)], tools.environment(settings))
    owners = {line.split()[-1] for line in listed.splitlines() if line and not line.startswith(";")}
    known = {name for (name,) in conn.execute("select rolname from pg_roles")}
    return sorted(owners - known - {"-"})


def restore(
    settings: Settings,
    backup: Backup,
    *,
    own_everything: bool = False,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Restore the dump into DATABASE_URL. If anything fails, nothing is restored.

    With `own_everything`, the restoring role owns everything, and no rights are granted. Raises BackupError if the database
    is not empty, if the dump is damaged, or if a role is missing.
    """
    if faults := folder.faults(backup):
        raise BackupError(f"{backup.name} is damaged: {'; '.join(faults)}. `stripe-sync db backups` lists the others")
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        if held := contents(conn):
            some = ", ".join(held[:8]) + (f" and {len(held) - 8} more" if len(held) > 8 else "")
            raise BackupError(
                f"the database {conn.info.dbname} is not empty: it has {some}. Create an empty database (createdb), and "
                "point DATABASE_URL at it"
            )
        if not own_everything and (missing := missing_roles(settings, backup, conn)):
            raise BackupError(
                f"the dump names roles that do not exist on the server: {', '.join(missing)}. Create them, or restore "
                "with --no-owner"
            )
        program = tools.find(settings, "pg_restore", at_least=tools.major_of(conn))
        database = conn.info.dbname
    command = [str(program), "--single-transaction", "--exit-on-error", f"--dbname={database}"]
    command += ["--no-owner", "--no-privileges"] if own_everything else []
    env = tools.environment(settings, settings.database_url)
    tools.run([*command, str(backup.path / DUMP)], env, alive=alive)
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        # Queries would be slow until autovacuum has gathered statistics.
        conn.execute("analyze")
