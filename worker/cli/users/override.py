"""The work of `stripe-sync override`."""

from worker.cli import database
from worker.cli.output import fail, say
from worker.cli.users.find import find
from worker.membership import by_hand
from worker.membership.compute import policy_of


def run(user: str, *, role: str | None, feature: str | None, until: str | None, note: str | None, lift: bool) -> None:
    """Save or lift an override of the user's role or of a feature, recompute the user, and print the result."""
    if (role is not None) + (lift or feature is not None) != 1:
        fail(
            "use exactly one of --role USER, --role PREMIUM, --feature NAME, and --lift (--lift --feature NAME lifts a feature)"
        )
    if lift and (until is not None or note is not None):
        fail("--until and --note need --role or --feature")
    ends_at = by_hand.until_when(until)
    settings = database.load_with_membership()
    policy = policy_of(settings)
    with database.connect(settings, application="override") as conn, conn.transaction():
        id_ = find(conn, user)["id"]
        if feature is not None and lift:
            by_hand.lift_feature(conn, id_, feature, policy)
        elif feature is not None:
            by_hand.override_feature(conn, id_, feature, policy, until=ends_at, note=note)
        elif role is None:
            by_hand.lift_override(conn, id_, policy)
        else:
            by_hand.override(conn, id_, role, policy, until=ends_at, note=note)
        now = find(conn, id_)
        row = conn.execute(
            "select coalesce(array_agg(distinct feature order by feature), '{}') from user_features where user_id = %s",
            (id_,),
        ).fetchone()
    if lift:
        change = "is lifted"
    else:
        change = f"is {role or feature} " + (f"until {ends_at:%Y-%m-%d %H:%M %Z}" if ends_at else "until lifted")
    if feature is None:
        say(f"The override of {now['id']} {change}; the role is now {now['role']}.")
    else:
        held = ", ".join(row[0]) if row and row[0] else "none"
        say(f"The override of {now['id']} {change}; the features are now {held}.")
