"""Text from customers and users reaches the terminal as text: no markup, no control characters, no overlong lines."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import Run
from worker.cli.output import visible

ESCAPE, RIGHT_TO_LEFT, ISOLATE = "\x1b[31m", "\u202e", "\u2066"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Ünïcode 名前", "plain, Ünïcode 名前"),
        ("[/b] [red]", "[/b] [red]"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x07\x7f", r"a\x0db\x07\x7f"),
        ("\u202eevil", r"\u202eevil"),
        ("\u2066\u200f\u200b", r"\u2066\u200f\u200b"),
        ("two\u2028lines", r"two\u2028lines"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_characters_that_a_terminal_acts_upon_are_shown_as_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.fixture
def jenny(conn: psycopg.Connection) -> str:
    """Store control characters in a user's e-mail, in an override's note and in an event's error. Return the e-mail."""
    email = f"[/b]{ESCAPE}{RIGHT_TO_LEFT}{ISOLATE}@example.com"
    conn.execute("insert into users (id, email) values ('jenny', %s)", (email,))
    conn.execute(
        "insert into sync.overrides (user_id, role, note) values ('jenny', 'PREMIUM', %s)", (f"{ESCAPE}[/b]\u202d",)
    )
    conn.execute("insert into sync.customer_links (stripe_customer_id) values ('cus_1')")
    conn.execute(
        """
        insert into sync.events (id, account, type, object_type, object_id, livemode, created, body, last_error)
        values ('evt_1', '', 'customer.updated', 'customer', 'cus_1', false, now(), '{}', %s)
        """,
        (f"[/b]{email} " + "x" * 400,),
    )
    return email


@pytest.mark.parametrize(
    "words", [("why", "jenny"), ("events", "list"), ("override", "jenny", "--lift"), ("link", "--list")], ids=" ".join
)
def test_no_command_prints_control_characters_from_the_database(run: Run, jenny: str, words: tuple[str, ...]) -> None:
    done = run(*words)

    assert done.returncode == 0, done.stderr
    assert not set(done.stdout + done.stderr) & {"\x1b", RIGHT_TO_LEFT, ISOLATE, "\u202d"}


def test_an_error_shows_the_control_characters_of_its_argument(run: Run) -> None:
    done = run("why", f"{ESCAPE}[/b]")

    assert done.stderr == "stripe-sync: there is no user \\x1b[31m[/b]\n"


def test_a_listing_in_a_pipe_is_no_wider_than_the_terminal(run: Run, jenny: str) -> None:
    narrow = run("events", "list", COLUMNS="90").stdout.splitlines()
    unknown = run("events", "list").stdout.splitlines()

    assert max(map(len, narrow)) <= 90
    assert max(map(len, unknown)) <= 120
    assert "".join("".join(narrow).split()).count("x") >= 400


def test_a_listing_in_a_pipe_takes_the_width_of_the_terminal_that_shows_errors(tmp_path: Path) -> None:
    """As in `stripe-sync events list | less`: stdout is a pipe, but there is still a terminal."""
    program = "from worker.cli.output import say_table; say_table(('a',), [{'a': 'x' * 500}])"
    ours, theirs = pty.openpty()
    try:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 63, 0, 0))
        env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=theirs,
            stdin=subprocess.DEVNULL,
            text=True,
            env=env,
            check=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert max(map(len, done.stdout.splitlines())) == 63
