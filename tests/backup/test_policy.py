"""Retention of backups, and their names."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.backup.policy import Keep, Kind, Name, Times, kept, last_due, newest

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEEP = Keep(daily=7, weekly=4, monthly=6)


def name(at: datetime, *, environment: str = "production", kind: Kind = Kind.LOGICAL) -> Name:
    return Name(at, environment, kind)


def daily(days: int) -> list[Name]:
    return [name(NOW - timedelta(days=day, hours=9)) for day in range(days)]


def test_a_name_survives_a_round_trip() -> None:
    written = name(datetime(2026, 11, 23, 3, 4, 5, tzinfo=UTC), kind=Kind.PHYSICAL)

    assert str(written) == "production-20261123T030405Z-physical"
    assert Name.read(str(written)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "production-wal",
        ".making-production-20261123T030405Z-logical",
        "production-20261123T030405Z-logical.old",
        "production-20261323T030405Z-logical",
        "production-20261123T030405Z-other",
    ],
)
def test_text_that_is_not_a_backup_name_is_rejected(text: str) -> None:
    assert Name.read(text) is None


def test_of_a_year_of_daily_backups_seven_days_four_weeks_and_six_months_are_kept() -> None:
    stay = kept(daily(365), KEEP, now=NOW)

    assert [str(one)[11:19] for one in sorted(stay, reverse=True)] == [
        "20261123", "20261122", "20261121", "20261120", "20261119", "20261118", "20261117",  # days
        "20261115", "20261108",  # the ends of two weeks; those of the two newer weeks are above
        "20261031", "20260930", "20260831", "20260731", "20260630",  # the ends of five months; November's is above
    ]  # fmt: skip


def test_the_newest_backup_is_always_kept() -> None:
    old = [name(NOW - timedelta(days=400)), name(NOW - timedelta(days=500))]

    assert kept(old, Keep(0, 0, 0), now=NOW) == {old[0]}


def test_two_backups_of_the_same_day_are_both_kept_for_a_day() -> None:
    before, after = name(NOW - timedelta(hours=3)), name(NOW - timedelta(hours=1))

    assert kept([before, after], Keep(1, 0, 0), now=NOW) == {before, after}
    assert kept([before, after], Keep(1, 0, 0), now=NOW + timedelta(days=2)) == {after}


def test_environments_and_kinds_are_counted_separately() -> None:
    mixed = [
        name(NOW - timedelta(days=day), environment=environment, kind=kind)
        for day in (2, 3)
        for environment in ("production", "staging")
        for kind in Kind
    ]

    stay = kept(mixed, Keep(1, 0, 0), now=NOW)

    assert stay == {one for one in mixed if one.taken_at == NOW - timedelta(days=2)}


moments = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis adds the time zone
    datetime(2026, 11, 23),  # noqa: DTZ001
    timezones=st.just(UTC),
)
names = st.lists(
    st.builds(Name, moments, st.sampled_from(["production", "staging"]), st.sampled_from(Kind)), max_size=40
)
keeps = st.builds(Keep, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))


@given(names, keeps)
def test_thinning_out_twice_removes_no_more_and_never_the_newest(held: list[Name], keep: Keep) -> None:
    stay = kept(held, keep, now=NOW)

    assert kept(stay, keep, now=NOW) == stay
    for one in held:
        assert newest(held, environment=one.environment, kind=one.kind) in stay


def test_a_schedule_that_never_runs_is_refused() -> None:
    never = Times(frozenset({0}), frozenset({0}), frozenset({31}), frozenset({2}), frozenset(range(7)))

    with pytest.raises(ValueError, match="no day"):
        last_due(never, NOW)
