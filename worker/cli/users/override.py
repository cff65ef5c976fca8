"""The work of `stripe-sync override`."""

from worker.cli import database
from worker.cli.output import fail, say
from worker.cli.users.find import find
from worker.membership import by_hand
from worker.membership.compute import policy_of


def run(user: str, *, role: str | None, until: str | None, note: str | None, lift: bool) -> None:
    """Save or lift the override of a user, recompute the user, and print the role that follows."""
    if lift == (role is not None):
        fail("use exactly one of --role USER, --role PREMIUM and --lift")
    if lift and (until is not None or note is not None):
        fail("--until and --note need --role")
    ends_at = by_hand.until_when(until)
    settings = database.load_with_membership()
    with database.connect(settings, application="override") as conn, conn.transaction():
        id_ = find(conn, user)["id"]
        if role is None:
            by_hand.lift_override(conn, id_, policy_of(settings))
        else:
            by_hand.override(conn, id_, role, policy_of(settings), until=ends_at, note=note)
        now = find(conn, id_)
    if role is None:
        change = "is lifted"
    else:
        change = f"is {role} " + (f"until {ends_at:%Y-%m-%d %H:%M %Z}" if ends_at else "until lifted")
    say(f"The override of {now['id']} {change}; the role is now {now['role']}.")
