"""A statement of plain SQL as one of Alembic's operations: with the statement that undoes it, and the difference that
it removes in words.
"""

from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import renderers
from alembic.operations.ops import ExecuteSQLOp

_LONG = 100


class Statement(ExecuteSQLOp):
    """A difference, and the statements that remove it and bring it back."""

    def __init__(self, up: str, down: str, *, words: str) -> None:
        super().__init__(up.strip())
        self.down, self.words = down.strip(), words

    def reverse(self) -> "Statement":
        assert isinstance(self.sqltext, str)
        return Statement(self.down, self.sqltext, words=self.words)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("statement", self.words)


@renderers.dispatch_for(Statement)
def _render(autogen_context: AutogenContext, op: Statement) -> str:
    """A short statement in its line; another without the indent it gets there: a function's white space is part of it."""
    statement = str(op.sqltext)
    if "\n" not in statement and len(statement) < _LONG and '"' not in statement and "\\" not in statement:
        return f'op.execute("{statement}")'
    escaped = statement.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    autogen_context.imports.add("from textwrap import dedent")
    return f'op.execute(dedent("""\n{escaped}\n"""))'
