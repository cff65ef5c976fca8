"""A lint for plain English. It rejects phrases and names that readers of earlier versions stumbled over.

It reads docstrings, comments, messages, names and documents. It can't recognise good prose, but it keeps the worst habits
from coming back.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks", "clients", "deploy", "docs", "migrations", "sandbox", "schema", "tests", "worker")

# A sentence that begins with a noun clause makes its reader wait for the verb. Only a question may begin like this.
NOUN_CLAUSE = re.compile(
    r"(?:^|(?<=[.!?:] ))(?:Who|Whom|Whose|Whoever|Whomever|What|Whatever)\b[^.?!]*(?:[.!?]|$)", re.M
)
PHRASES = {
    re.compile(r"\bmend(s|ed|ing)?\b", re.I): "fix",
    re.compile(r"\bnobody's\b", re.I): "of no user, or not ours",
    re.compile(r"\bthe doors?\b", re.I): "the webhook endpoint",
    re.compile(r"\bgo(es)? on with\b", re.I): "continue",
    re.compile(r"\bis said with\b", re.I): "comes with",
    re.compile(r"\bsecond looks?\b", re.I): "recheck",
}
# Names that do not describe the value of the variable.
NAMES = {"said", "told", "found", "go_on", "asks"}
TEST_NAME = re.compile(r"test_(who|whom|whose|whoever|what|whatever)_")

# Text that is exempt: the file, and the text.
EXCEPTIONS = {
    ("tests/test_words.py", "*"),
}


@dataclass(frozen=True)
class Finding:
    """One place to rewrite."""

    file: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text!r} ({self.reason})"


def in_prose(file: str, line: int, text: str) -> Iterator[Finding]:
    """The findings in a piece of prose that begins at this line. A line break within a paragraph is a space."""
    joined = re.sub(r"(?<!\n)\n(?![\n*|#>-])[ \t]*", " ", text)
    for match in NOUN_CLAUSE.finditer(joined):
        if not match.group().endswith("?"):
            yield Finding(file, line, match.group()[:80], "begins with a noun clause")
    for phrase, instead in PHRASES.items():
        for match in phrase.finditer(joined):
            yield Finding(file, line, joined[max(0, match.start() - 20) : match.end() + 20], f"say: {instead}")


def in_python(file: str, source: str) -> Iterator[Finding]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from in_prose(file, token.start[0], token.string.lstrip("# "))
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from in_prose(file, line, re.sub(r"\n[ \t]+", "\n", node.value))
        for name in named_by(node):
            if name in NAMES or TEST_NAME.match(name):
                yield Finding(file, line, name, "a name in the field's words")


def named_by(node: ast.AST) -> Iterator[str]:
    """The names that this node defines."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name


def in_document(file: str, source: str) -> Iterator[Finding]:
    """Findings in a Markdown document, without its code. Each table row and each heading is read separately."""
    prose = re.sub(r"^```.*?^```", "", source, flags=re.M | re.S)
    for paragraph in re.split(r"\n\s*\n", prose):
        if paragraph.startswith("    "):
            continue
        text = re.sub(r"^[#>*-]+ |^\| ?", "", paragraph, flags=re.M)
        yield from in_prose(file, source[: source.find(paragraph)].count("\n") + 1, text.replace(" | ", "\n\n"))


def findings(file: str) -> list[Finding]:
    source = (ROOT / file).read_text()
    read = in_python if file.endswith(".py") else in_document
    return [each for each in read(file, source) if not {(file, "*"), (file, each.text)} & EXCEPTIONS]


def files() -> list[str]:
    within = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "node_modules" not in path.parts]
    named = [path.relative_to(ROOT).as_posix() for path in [*within, *ROOT.glob("*.md")]]
    return sorted(name for name in named if name.endswith((".py", ".md")))


@pytest.mark.parametrize("file", files())
def test_a_file_is_in_plain_english(file: str) -> None:
    assert [str(each) for each in findings(file)] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Who was erased stays erased.", 1),
        ("It is gone. What is left is blanked.", 1),
        ("It is gone.\nWhat is left is blanked.", 1),
        ("What is left?", 0),
        ("The rows that are left are blanked. Somebody who asks gets them.", 0),
        ("Mend the cause, and run it again.", 1),
        ("The amendment recommends nothing.", 0),
        ("It is nobody's fault.", 1),
        ("The door answers 200.", 1),
    ],
)
def test_the_lint_counts_the_phrases_of_a_text(text: str, count: int) -> None:
    assert len(list(in_prose("a.md", 1, text))) == count


def test_the_lint_reads_comments_docstrings_messages_and_names() -> None:
    source = '''
"""Who reads this?"""
# What is left stays.
def test_who_pays_stays(told: str) -> None:
    """Whoever pays, stays."""
    said = f"Mend {told}"
'''

    assert sorted(each.text for each in in_python("a.py", source)) == sorted(
        ["What is left stays.", "test_who_pays_stays", "told", "Whoever pays, stays.", "said", "Mend "]
    )
