"""Render pages: the Jinja environment, the filters for templates, and the headers of every response."""

import functools
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, Response

from worker.membership.rules import wording

# Browsers load scripts and styles only from this host's files. Inline scripts and styles never run, even if a customer's
# name contains one.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_UNITS = ((86400 * 365, "y"), (86400 * 30, "mo"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_STATIC = {
    "icon.svg": "image/svg+xml",
    "console.css": "text/css",
    "console.js": "text/javascript",
    "htmx.min.js": "text/javascript",
}


def page(template: str, values: Mapping[str, Any], *, status: int = 200) -> Response:
    """The template as HTML, with the security headers of every page."""
    return HTMLResponse(_environment.get_template(template).render(values), status, headers=HEADERS)


def compile_templates() -> None:
    """Compile all templates, which takes a tenth of a second. Otherwise the first visitor of each page waits for it."""
    for name in _environment.list_templates():
        _environment.get_template(name)


def static(name: str) -> Response | None:
    """A file that the pages use; None if there is no such file. Browsers may cache it for a day."""
    if name not in _STATIC:
        return None
    headers = HEADERS | {"cache-control": "public, max-age=86400"}
    return Response(_content(name), media_type=_STATIC[name], headers=headers)


def address(name: str) -> str:
    """The address of a file of the console. It changes with the file's content, so that no browser uses an old style."""
    return f"/console/static/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


@functools.cache
def _content(name: str) -> bytes:
    return files("worker.web.console").joinpath("static", name).read_bytes()


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """The time between `moment` and now in the largest unit: `5 min ago`, `in 3 d`; empty for None."""
    if moment is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    size, unit = next(((size, unit) for size, unit in _UNITS if abs(seconds) >= size), (1, "s"))
    number = int(abs(seconds) // size)
    if number == 0:
        return "now"
    return f"{number} {unit} ago" if seconds > 0 else f"in {number} {unit}"


def exact(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def visible(text: object) -> str:
    """The text with control characters and direction marks as escapes, so that a name can't reorder its line."""
    return "".join(
        f"\\u{ord(char):04x}" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") and char not in "\n\t" else char
        for char in str(text)
    )


def short(text: object, length: int = 120) -> str:
    shown = visible(text)
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def pretty(value: object) -> str:
    """JSON, indented."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=True))


def money(amount: int | None, currency: str | None) -> str:
    """An amount in minor units as text: `20.00 usd`. Stripe's zero-decimal currencies have no decimals."""
    if amount is None:
        return ""
    code = (currency or "").lower()
    if is_zero_decimal(code):
        return f"{amount:,} {code}"
    return f"{amount / 100:,.2f} {code}".strip()


def is_zero_decimal(currency: str) -> bool:
    """Whether amounts of this currency have no minor unit."""
    return currency.lower() in _ZERO_DECIMAL


# docs.stripe.com/currencies: zero-decimal currencies.
_ZERO_DECIMAL = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)

_environment = Environment(
    loader=PackageLoader("worker.web.console"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "ago": ago,
    "exact": exact,
    "visible": visible,
    "short": short,
    "pretty": pretty,
    "money": money,
    "source": wording.source,
    "value": wording.value,
    "change": lambda change, column: wording.change(column, change),
    "number": lambda value: f"{value:,}" if isinstance(value, int) else str(value),
}
_environment.globals["address"] = address
