"""The work of `stripe-sync setup-admin`."""

import psycopg

from schema.states import UserRole
from worker.cli import database
from worker.cli.output import fail, say
from worker.cli.users.find import find
from worker.membership.store import save


def run(email: str | None) -> None:
    """Give the role ADMIN to the user with this e-mail; without one, to the user with ADMIN_EMAIL."""
    settings = database.load_with_membership()
    wanted = email or settings.admin_email
    if not wanted:
        fail("give the user's e-mail, or set ADMIN_EMAIL")
    with database.connect(settings, application="setup-admin") as conn, conn.transaction():
        user = find(conn, wanted, by_email=True)
        if user["role"] == UserRole.BANNED:
            fail(f"{wanted} is BANNED: change that role by hand first")
        if user["role"] == UserRole.ADMIN:
            say(f"{wanted} is already ADMIN.")
            return
        try:
            save.make_admin(conn, user["id"])
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            fail(
                f"users.role does not accept ADMIN: {error.diag.message_primary}. Add it to the application's roles first"
            )
    say(f"{wanted} is now ADMIN, and was {user['role']}.")
