"""The work of `stripe-sync override`."""

from datetime import UTC, datetime

from schema.states import UserRole
from worker.cli import database
from worker.cli.output import fail, say
from worker.cli.users.find import find
from worker.membership import compute
from worker.membership.compute import policy_of
from worker.membership.store import save


def run(user: str, *, role: str | None, until: str | None, note: str | None, lift: bool) -> None:
    """Save or lift the override of a user, recompute the user, and print the role that follows."""
    if lift == (role is not None):
        fail("use exactly one of --role USER, --role PREMIUM and --lift")
    if lift and (until is not None or note is not None):
        fail("--until and --note need --role")
    if role is not None and role not in (UserRole.USER, UserRole.PREMIUM):
        fail(f"--role {role} is neither USER nor PREMIUM (to make an administrator: stripe-sync setup-admin)")
    ends_at = _time(until)
    settings = database.load_with_membership()
    with database.connect(settings, application="override") as conn, conn.transaction():
        id_ = find(conn, user)["id"]
        if role is not None:
            save.save_override(conn, id_, UserRole(role), until=ends_at, note=note)
        elif not save.lift_override(conn, id_):
            fail(f"{id_} has no override")
        compute.compute(conn, [id_], policy_of(settings))
        now = find(conn, id_)
    if role is None:
        change = "is lifted"
    else:
        change = f"is {role} " + (f"until {ends_at:%Y-%m-%d %H:%M %Z}" if ends_at else "until lifted")
    say(f"The override of {now['id']} {change}; the role is now {now['role']}.")


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--until {text} is neither a date such as 2027-01-31 nor a time in ISO 8601")
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        fail(f"--until {text} is in the past")
    return moment
