"""The work of `stripe-sync sync all` and `sync LIST`: start or join the backfill, and show its progress."""

import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.cli import database
from worker.cli.output import say, say_json, visible
from worker.config.settings import Settings
from worker.jobs import celery_app, periodic
from worker.jobs.periodic import BACKFILL
from worker.membership.compute import policy_of
from worker.mirror import shards
from worker.postgres.pool import connect
from worker.stripe_api.client import Stripe
from worker.writers import backfill as job

LOOK_SECONDS = 0.5
# If no worker works on the job for this long, the command does the work itself.
PATIENCE_SECONDS = 5.0
MOST_ROWS = 30


def backfill(names: Sequence[str], *, since: datetime | None, account: str, wait: bool, as_json: bool) -> None:
    """Start or join the job and, with `wait`, show its progress until it ends. The exit code is 1 if a list failed."""
    settings = database.load()
    Stripe.from_settings(settings).close()  # reports a wrong key or address at once
    with database.connect(settings, application="sync") as conn:
        run, is_new = job.start(conn, job.lists_named(names), since=since, account=account)
        _wake_a_worker(settings)
        if not as_json:
            say(f"Backfill {run} was {'started' if is_new else 'joined: it is already running'}.")
        if wait:
            _wait(settings, conn, run, show=not as_json)
        progress = job.progress(conn, run)
        assert progress is not None
    if as_json:
        say_json(progress)
    elif wait:
        _say_end(progress)
    if progress["state"] != "running" and _has_failed(progress, names):
        raise typer.Exit(1)


def _has_failed(progress: dict[str, Any], names: Sequence[str]) -> bool:
    """Whether a requested list was not read. With `all`, lists that this account does not have are not failures."""
    named = set(() if "all" in names else job.lists_named(names))
    states = {each["list"]: each["state"] for each in progress["lists"]}
    return bool(progress["error"]) or any(
        state == "failed" or (state == "not available" and name in named) for name, state in states.items()
    )


def stop() -> None:
    """Stop the running job."""
    with database.connect(application="sync") as conn:
        stopped = job.stop(conn)
    say(
        "The backfill was stopped. Everything that it wrote stays, and the affected users are computed."
        if stopped
        else "No backfill is running."
    )


def _wait(settings: Settings, conn: psycopg.Connection, run: int, *, show: bool) -> None:
    """Show the progress until the job ends or Ctrl-C detaches. If no worker does the job, do it in this process."""
    is_terminal = show and sys.stdout.isatty()
    console, helper, idle_since = Console(), _Helper(settings), time.monotonic()
    try:
        with Live(console=console, auto_refresh=False, transient=True) if is_terminal else _Silent() as live:
            while shards.running(conn, job.JOB) == run:
                if is_terminal and (progress := job.progress(conn, run)) is not None:
                    live.update(table(progress), refresh=True)
                if helper.is_working or not shards.is_idle(conn, job.JOB):
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > PATIENCE_SECONDS:
                    helper.start()
                helper.raise_error()
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        say(
            f"Detached: the workers continue backfill {run}. `stripe-sync sync all` shows it, and `sync stop` stops it."
        )
        raise typer.Exit(130) from None
    finally:
        helper.stop()


class _Silent:
    """A stand-in for the live display, which shows nothing."""

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, *_: object, **__: object) -> None:
        pass


class _Helper:
    """Does the job in this process, in a thread with its own connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._thread, self._stopping = settings, None, threading.Event()
        self._error: BaseException | None = None

    _thread: threading.Thread | None

    @property
    def is_working(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10)

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        made = Stripe.from_settings(self._settings)
        try:
            with connect(self._settings, application="sync") as conn:
                while not self._stopping.is_set() and job.carry_on(
                    conn,
                    lambda: made,
                    policy_of(self._settings),
                    should_continue=lambda: not self._stopping.is_set(),
                    connect=lambda: connect(self._settings, application="sync"),
                ):
                    self._stopping.wait(LOOK_SECONDS)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._error = error
        finally:
            made.close()


def table(progress: dict[str, Any]) -> Group:
    """The job as a table: bar, rate, estimate and error of each list that has started.

    The lists are sorted by state, then by size. Lists that are waiting or turned out empty are only counted.
    """
    empty = [each for each in progress["lists"] if each["state"] == "done" and not each["listed"]]
    waiting = [each for each in progress["lists"] if each["state"] == "waiting"]
    shown = [each for each in progress["lists"] if each not in empty and each not in waiting]
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("list", "", "objects", "of about", "per second", "new", "repaired", "state"):
        made.add_column(name, justify="left" if name in ("list", "", "state") else "right", overflow="fold")
    states = ("failed", "reading", "done", "not available")
    for each in sorted(shown, key=lambda each: (states.index(each["state"]), -each["listed"]))[:MOST_ROWS]:
        # For a list under parents, only the number of parents is known, not the number of their objects.
        under_parents = each["parents"] is not None
        done = each["parents"] if under_parents else each["listed"]
        total = None if each["remaining"] is None else done + each["remaining"]
        made.add_row(
            each["list"],
            Text("...")
            if total is None
            else ProgressBar(total=max(total, 1), completed=done if total else 1, width=20),
            f"{each['listed']:,}",
            "" if total is None else f"{total:,} parents" if under_parents else f"{total:,}",
            f"{each['objects_per_second']:,.0f}",
            f"{each['written']:,}",
            f"{each['repaired'] + each['marked_deleted']:,}",
            Text(visible(each["error"] or each["state"])),
        )
    left = progress["seconds_left"]
    return Group(
        made,
        Text(
            f"{progress['listed']:,} objects in {progress['seconds']:,.0f} s, {progress['objects_per_second']:,.0f} a second"
            + (f", about {left:,} s left" if left is not None else "")
            + f". Lists: {len(waiting)} waiting, {len(empty)} empty. Ctrl-C detaches."
        ),
    )


def _say_end(progress: dict[str, Any]) -> None:
    for each in progress["lists"]:
        if each["listed"] and not each["error"]:
            say(
                f"{each['list']}: {each['listed']:,} listed, {each['written']:,} written, {each['unchanged']:,} unchanged, "
                f"{each['repaired']:,} repaired, {each['marked_deleted']:,} marked deleted"
            )
    for each in progress["lists"]:
        if each["error"]:
            say(f"{each['list']}: not read completely. {each['error']}")
    say(
        f"{progress['listed']:,} objects in {progress['seconds']:,.0f} s."
        + (f" {progress['error']}" if progress["error"] else "")
    )


def _wake_a_worker(settings: Settings) -> None:
    """Send the task. If the broker can't be reached, the job `wake` sends it later, or this command does the work."""
    from kombu.exceptions import OperationalError

    app = celery_app.make(settings.redis_url)
    try:
        app.send_task(periodic.task_name(job.JOB), queue=BACKFILL, retry=False)
    except (OSError, OperationalError) as error:
        say(
            f"The broker of REDIS_URL can't be reached ({type(error).__name__}): the job waits, or this command does it."
        )
