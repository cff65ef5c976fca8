"""A plain SQL statement as an Alembic operation, with the statement that undoes it and a description of the difference."""

from typing import Any

from alembic.operations.ops import ExecuteSQLOp


class Statement(ExecuteSQLOp):
    """A difference, and the statements that remove it and restore it."""

    def __init__(self, up: str, down: str, *, words: str) -> None:
        super().__init__(up.strip())
        self.up, self.down, self.words = up.strip(), down.strip(), words

    def reverse(self) -> "Statement":
        return Statement(self.down, self.up, words=self.words)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("statement", self.words)
