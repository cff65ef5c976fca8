"""Write the table of paid lines in docs/membership.md from worker/membership/rules/lines.py: `python -m tests.lines_page`."""

from pathlib import Path

from worker.membership.rules.lines import TABLE, Answer

PAGE = Path(__file__).parent.parent / "docs" / "membership.md"
_BEGIN, _END = "<!-- lines -->\n", "<!-- end of lines -->\n"
_COLUMNS = ("price", "trial", "proration", "credit", "whole", "first")


def render(page: str) -> str:
    """Return the page with the table made from the rules."""
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    lines = [f"| row | {' | '.join(_COLUMNS)} | gives | |", "|---|" + "---|" * (len(_COLUMNS) + 2)]
    for row in TABLE:
        cells = " | ".join(_cell(getattr(row, name)) for name in _COLUMNS)
        lines.append(f"| `{row.name}` | {cells} | {row.gives} | {row.meaning} |")
    return before + _BEGIN + "\n".join(lines) + "\n" + _END + after


def _cell(value: object) -> str:
    if isinstance(value, bool):
        value = Answer.YES if value else Answer.NO
    return "" if value is None else str(value)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
