"""Lots and histories as JSON: every field is written, and read back equal."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

from worker.membership.rules.history import Act, Entry, History, Moment, Newest, State
from worker.membership.rules.lots import Lot
from worker.membership.store import histories

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LOTS = (
    Lot(source="il_1", owner="sub_1", bill="in_1", granted=5, left=3, until=NOW, begins=NOW, ends=NOW),
    Lot(source="il_2", owner="sub_2", bill="in_2", granted=7, left=7, until=NOW, pack=True, subscription="sub_2"),
)
HISTORY = History(
    State(lots=LOTS, balance=10, expires_at=NOW, newest={"sub_1": Newest(NOW, "in_1")}),
    (
        Entry(act=Act.ADD, at=Moment(NOW, bill="in_2", line="il_2"), seen=NOW, source="il_2", lot=LOTS[1]),
        Entry(act=Act.SPEND, at=Moment(NOW, 1, is_spend=True), seen=NOW, source="spend", amount=2),
    ),
    8,
)


def test_a_history_is_written_with_all_fields_and_read_back() -> None:
    written = histories.write(HISTORY)

    assert written == json.dumps(asdict(HISTORY), default=datetime.isoformat)
    assert histories.read(json.loads(written)) == HISTORY


def test_lots_are_written_with_all_fields_and_read_back() -> None:
    written = histories.write_lots(LOTS)

    assert written == json.dumps([asdict(lot) for lot in LOTS], default=datetime.isoformat)
    assert histories.read_lots(json.loads(written)) == LOTS
