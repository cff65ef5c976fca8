"""Compute the SVG coordinates of charts. The macros in `macros.html` draw the charts, without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM = 600, 160, 56, 20


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on the vertical axis, and its height in the drawing."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series. `points` is the value for an SVG polyline; `summary` describes the chart in words."""

    points: str
    ticks: tuple[Tick, ...]
    first: str
    last: str
    summary: str


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    label: str
    is_negative: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar per value. The bars of negative values extend below the base line."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    zero: float
    first: str
    last: str
    summary: str


def line(labels: Sequence[str], values: Sequence[float], unit: str = "") -> Line | None:
    """The series from left to right; None if there is nothing to draw."""
    if not values:
        return None
    low, high = min(0.0, *values), max(1.0, *values)
    if len(values) == 1:  # a single value is drawn as a horizontal line
        labels, values = [*labels, *labels], [*values, *values]
    step = (WIDTH - LEFT) / (len(values) - 1)
    points = " ".join(f"{LEFT + n * step:.1f},{_y(value, low, high):.1f}" for n, value in enumerate(values))
    return Line(points, _ticks(low, high), labels[0], labels[-1], _summary(labels, values, unit))


def bars(labels: Sequence[str], values: Sequence[float], unit: str = "") -> Bars | None:
    """One bar per value; None if there is nothing to draw."""
    if not values:
        return None
    low, high = min(0.0, *values), max(1.0, *values)
    step = (WIDTH - LEFT) / len(values)
    zero = _y(0, low, high)
    drawn = tuple(
        Bar(
            x=LEFT + n * step + step * 0.1,
            y=min(zero, _y(value, low, high)),
            width=step * 0.8,
            height=abs(_y(value, low, high) - zero),
            label=f"{labels[n]}: {value:,.0f}{unit}",
            is_negative=value < 0,
        )
        for n, value in enumerate(values)
    )
    return Bars(drawn, _ticks(low, high), zero, labels[0], labels[-1], _summary(labels, values, unit))


def _y(value: float, low: float, high: float) -> float:
    return (HEIGHT - BOTTOM) * (1 - (value - low) / (high - low)) if high > low else HEIGHT - BOTTOM


def _ticks(low: float, high: float) -> tuple[Tick, ...]:
    middle = (low + high) / 2
    return tuple(Tick(_y(value, low, high), _compact(value)) for value in (high, middle, low))


def _compact(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _summary(labels: Sequence[str], values: Sequence[float], unit: str) -> str:
    top = max(range(len(values)), key=values.__getitem__)
    return (
        f"From {labels[0]} to {labels[-1]}: {values[-1]:,.0f}{unit} at the end, "
        f"at most {values[top]:,.0f}{unit} ({labels[top]}), at least {min(values):,.0f}{unit}."
    )
