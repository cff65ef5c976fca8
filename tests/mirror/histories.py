"""Random histories of objects, and the Hypothesis settings for laws about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from worker.mirror.version import DELETED_HASH, Snapshot, Traits, Version, decide, take
from worker.stripe_api.event import CREATED, DELETED, UPDATED

# No deadline: laws are about results, and test machines can be slow.
LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# More examples, for the laws on which everything else depends.
THE_LAW = settings(LAW, max_examples=150)

GONE_FOR_GOOD = Traits(fetchable=True, reborn=False)
REBORN = Traits(fetchable=True, reborn=True)
NOT_FETCHABLE = Traits(fetchable=False, reborn=False)


def row(
    content: str = "a",
    at: int = 100,
    *,
    rank: int = UPDATED,
    source: str = "evt_row",
    shape: str = "endive",
    rev: int = 1,
    unsettled: bool = False,
    final: bool = False,
) -> Version:
    """A version as the mirror's row holds it."""
    return Version(
        observed_at=at,
        rank=rank,
        observed_in=source,
        content_hash=content,
        shape=shape,
        rev=rev,
        unsettled=unsettled,
        final=final,
    )


def seen(
    content: str = "b",
    at: int = 100,
    *,
    rank: int = UPDATED,
    source: str = "evt_seen",
    shape: str = "endive",
    final: bool = False,
    incomplete: bool = False,
    before: str | None = None,
) -> Snapshot:
    """The snapshot of an event. `before` is the content that its previous_attributes restore."""
    return Snapshot(
        created=at,
        rank=rank,
        source=source,
        content_hash=content,
        shape=shape,
        final=final,
        incomplete=incomplete,
        before=lambda: before,
    )


def after(held: Version | None, snapshots: Iterable[Snapshot], traits: Traits = GONE_FOR_GOOD) -> Version:
    """The row after the snapshots were applied one by one."""
    for snapshot in snapshots:
        held = take(held, snapshot, decide(held, snapshot, traits), traits) or held
    assert held is not None
    return held


@dataclass(frozen=True)
class History:
    """The versions of one object: `made` in the order of the changes, `delivered` in an order of delivery."""

    made: tuple[Snapshot, ...]
    delivered: tuple[Snapshot, ...]

    @property
    def last(self) -> Snapshot:
        return self.made[-1]


@st.composite
def histories(
    draw: st.DrawFn, *, least_gap: int = 0, contents: Sequence[str] | None = None, ends_deleted: bool | None = None
) -> History:
    """Versions 0 to 30 s apart, delivered in any order and each at least once. The first is X.created.

    Contents are all distinct, or drawn from `contents`. The status may be final from some version on.
    """
    size = draw(st.integers(1, 6))
    sources = draw(st.permutations([f"evt_{n}" for n in range(size)]))
    deleted = draw(st.booleans()) if ends_deleted is None else ends_deleted
    final_from = draw(st.integers(0, 2 * size))
    chained = draw(st.booleans())
    made: list[Snapshot] = []
    at = 1_000
    for number in range(size):
        at += draw(st.integers(least_gap, 30)) if number else 0
        gone = deleted and number == size - 1 and size > 1
        content = draw(st.sampled_from(contents)) if contents else f"version {number}"
        made.append(
            seen(
                DELETED_HASH if gone else content,
                at,
                rank=DELETED if gone else UPDATED if number else CREATED,
                source=sources[number],
                final=not gone and number >= final_from,
                before=made[-1].content_hash if chained and number else None,
            )
        )
    again = draw(st.lists(st.sampled_from(range(size)), max_size=6))
    delivered = draw(st.permutations([*range(size), *again]))
    return History(tuple(made), tuple(made[number] for number in delivered))


_moments, _ranks = st.integers(80, 120), st.sampled_from([CREATED, UPDATED, DELETED])
_contents = st.sampled_from(["a", "b", DELETED_HASH])
_shapes = st.sampled_from(["endive", "2024-06-20", ""])

rows = st.builds(
    Version,
    observed_at=_moments,
    rank=_ranks,
    observed_in=st.sampled_from(["evt_1", "evt_2", "evt_3"]),
    content_hash=_contents,
    shape=_shapes,
    rev=st.integers(1, 9),
    unsettled=st.booleans(),
    final=st.booleans(),
)

snapshots = st.builds(
    seen,
    _contents,
    _moments,
    rank=_ranks,
    source=st.sampled_from(["evt_1", "evt_2", "evt_3"]),
    shape=_shapes,
    final=st.booleans(),
    incomplete=st.booleans(),
    before=st.none() | _contents,
)
