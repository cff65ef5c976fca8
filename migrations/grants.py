"""Keep the grants on views that a revision drops and creates again.

The grants are read before each revision, and granted again after it. An operator may have granted rights on one view, or on
some of its columns, by hand. `db roles` could not restore them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from schema import revenue

_FOUND = text(
    """
    select c.oid::regclass::text, c.oid::bigint, coalesce(quote_ident(a.attname), ''),
        case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end, g.privilege_type,
        g.is_grantable
    from pg_class as c
    join (
        select oid as relation, null::name as attname, relacl as acl from pg_class
        union all
        select attrelid, attname, attacl from pg_attribute where attnum > 0 and not attisdropped
    ) as a on a.relation = c.oid
    cross join lateral aclexplode(a.acl) as g
    where c.relkind = 'v' and g.grantee <> c.relowner
        and c.relnamespace in (to_regnamespace(:views), to_regnamespace(:revenue))
    """
)
_COLUMNS = text(
    """
    select c.oid::regclass::text, c.oid::bigint, quote_ident(a.attname)
    from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind = 'v' and c.relnamespace in (to_regnamespace(:views), to_regnamespace(:revenue))
    """
)


class Grant(NamedTuple):
    """A privilege on a view, or on one `column` of it. Names are quoted if necessary."""

    view: str
    column: str
    role: str
    privilege: str
    is_grantable: bool

    @property
    def on(self) -> str:
        """The privilege and its object, as in GRANT and REVOKE statements."""
        column = f" ({self.column})" if self.column else ""
        return f"{self.privilege}{column} on {self.view}"


def keep(connection: Connection, schema: str) -> Callable[..., None]:
    """Return a callback for Alembic, to be called in the transaction of each revision.

    It restores the grants on views that were created again. New views keep their default privileges.
    """
    schemas = {"views": schema, "revenue": revenue.SCHEMA}

    def grants() -> set[Grant]:
        rows = connection.execute(_FOUND, schemas)
        return {Grant(view, column, role, privilege, grantable) for view, _, column, role, privilege, grantable in rows}

    def columns() -> dict[str, tuple[int, set[str]]]:
        present: dict[str, tuple[int, set[str]]] = {}
        for view, oid, column in connection.execute(_COLUMNS, schemas):
            present.setdefault(view, (oid, set()))[1].add(column)
        return present

    before, held = columns(), grants()
    connection.rollback()

    def give_again(**_: Any) -> None:
        nonlocal before, held
        after = columns()
        anew = {view for view, (oid, _) in after.items() if view in before and before[view][0] != oid}
        wanted = {each for each in held if each.view in anew and each.column in {"", *after[each.view][1]}}
        present = {each for each in grants() if each.view in anew}
        for each in sorted(present - wanted):
            connection.exec_driver_sql(f"revoke {each.on} from {each.role}")
        for each in sorted(wanted - present):
            option = " with grant option" if each.is_grantable else ""
            connection.exec_driver_sql(f"grant {each.on} to {each.role}{option}")
        before, held = columns(), grants()

    return give_again
