"""Draw random lives of a user."""

import random

from tests.factories import Json
from tests.membership.situations import life
from tests.model.lives import AMOUNTS, Life
from tests.model.model import Spent


def draw(chosen: random.Random) -> Life:
    """Draw a life of up to 55 days."""
    made = Life(chosen)
    made.day = float(-chosen.choice((54, 40, 20, 8, 2)))
    if chosen.random() < 0.2:
        made.buy()
    made.start()
    while made.day < -1:
        made.renew_due(min(_next_day(made, chosen), -0.5))
        _act(made, chosen)
    made.renew_due(-0.1)
    return made


def _next_day(made: Life, chosen: random.Random) -> float:
    """Choose the day of the next action: minutes or days later, or minutes after the next period begins."""
    ends = [item.end for of in made.subscriptions for item in of.items.values() if item.end > made.day]
    if ends and chosen.random() < 0.15:
        return min(ends) + 0.01
    return made.day + chosen.choice((0.001, 0.01, 0.5, 1, 2, 5, 9))


def _act(made: Life, chosen: random.Random) -> None:
    """Choose an action at random, and do it if it is possible."""
    of = chosen.choice(made.subscriptions)
    if of.is_quiet:
        return
    plan = next(iter(of.items), None)
    can_change = of.status == "active" and plan is not None
    action = chosen.choice(
        (
            "change",
            "change",
            "change",
            "switch",
            "add",
            "remove",
            "buy",
            "back",
            "back",
            "spend",
            "cancel",
            "late",
            "trial",
            "start",
            "quiet",
        )
    )
    if action == "change" and can_change:
        changeable = [
            id_ for id_, item in of.items.items() if item.price != "addon_10" and item.start < made.day < item.end
        ]
        if changeable:
            made.change(of, chosen.choice(changeable))
    elif action == "switch" and can_change and plan is not None and made.can_switch(of.items[plan]):
        made.switch(of, plan)
    elif action == "add" and of.status == "active":
        made.add_item(of)
    elif action == "remove" and can_change and len(of.items) > 1:
        made.remove_item(of, list(of.items)[-1])
    elif action == "buy":
        made.buy()
    elif action == "back":
        made.give_back()
    elif action == "spend" and chosen.random() < 0.5:
        made.spend()
    elif action == "cancel" and of.status == "active" and chosen.random() < 0.3:
        made.cancel(of)
    elif action == "late" and of.open_bill is not None:
        made.pay_late(of)
    elif action == "trial" and of.status == "trialing":
        made.end_trial(of)
    elif action == "quiet" and can_change and made.can_be_quiet(of):
        made.change_quietly(of, list(of.items)[-1])
    elif action == "start" and len(made.subscriptions) < 2 and chosen.random() < 0.3:
        made.start()


def events_of(made: Life) -> list[list[Json] | int]:
    """Return the events of each phase, and between two phases the tokens that are spent there."""
    phases: list[list[Json] | int] = [[life.jenny(), *life.catalogue(*AMOUNTS)]]
    for phase in made.phases:
        for step in phase:
            phases += [happened.amount for happened in step.happened if isinstance(happened, Spent)]
        phases.append([each for step in phase for each in step.events])
    return phases
