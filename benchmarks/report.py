"""Print the figures as tables. The JSON file has these figures and more."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(width=110)


def say_facts(facts: dict[str, Any]) -> None:
    console.print("  ".join(f"{name}: [bold]{value}[/]" for name, value in facts.items()))


def say_throughput(runs: Iterable[dict[str, Any]], limit: dict[str, Any] | None) -> None:
    table = Table(
        "", "acknowledged/s", "applied/s", "web", "worker", "Postgres", "in all", "client", title="Throughput"
    )
    table.caption = "CPU in microseconds an event; applied: from the first POST until the inbox is empty"
    for run in runs:
        cpu = run["cpu_us_per_event"]
        table.add_row(
            f"{run['events']:,} events, {run['concurrency']} at once"
            + (", linked users" if run.get("linked_users") else "")
            + (", updates of linked users" if run.get("updated") else ""),
            f"{run['acknowledged_per_second']:,.0f}",
            f"{run['applied_per_second']:,.0f}",
            *(f"{cpu[name]:.0f}" for name in ("web", "worker", "postgres")),
            f"[bold]{run['cpu_us_per_event_in_all']:.0f}[/]",
            f"{run['client_cpu_us_per_event']:.0f}",
        )
        if limit is not None:
            table.add_row(
                "  of the limit",
                "",
                f"{run['applied_per_second'] / limit['events_per_second']:.0%}",
                "",
                "",
                f"x {cpu['postgres'] / limit['postgres_cpu_us_per_event']:.1f}",
                "",
                "",
            )
    console.print(_right(table))


def say_limit(limit: dict[str, Any]) -> None:
    table = Table("", "events/s", "Postgres", "client", title="The limit: the same rows by plain SQL")
    table.add_row(
        f"{limit['events']:,} events, batches of {limit['batch']}, {limit['connections']} connections",
        f"{limit['events_per_second']:,.0f}",
        f"{limit['postgres_cpu_us_per_event']:.0f}",
        f"{limit['client_cpu_us_per_event']:.0f}",
    )
    console.print(_right(table))


def say_latency(runs: Sequence[dict[str, Any]]) -> None:
    table = Table("", "p50", "p90", "p99", "max", title=f"Latency at {runs[0]['per_second']} events/s, in milliseconds")
    for run in runs:
        for name, title in (
            ("post_to_answer_ms", "POST to 200"),
            ("post_to_row_ms", "POST to row, seen by another connection"),
        ):
            shown = title + (", linked users" if run["linked_users"] else "")
            table.add_row(shown, *(f"{run[name][column]:.1f}" for column in ("p50", "p90", "p99", "max")))
    console.print(_right(table))


def say_access(run: dict[str, Any]) -> None:
    table = Table(
        "", "p50", "p90", "p99", "max", title=f"Requests for access at {run['per_second']}/s, in milliseconds"
    )
    table.add_row(
        f"{run['requests']:,} fresh answers, {run['users']:,} users",
        *(f"{run['answer_ms'][column]:.1f}" for column in ("p50", "p90", "p99", "max")),
    )
    cpu = run["cpu_us_per_request"]
    table.caption = f"CPU in microseconds an answer: web {cpu['web']:.0f}, Postgres {cpu['postgres']:.0f}"
    console.print(_right(table))


def say_passes(name: str, result: dict[str, Any]) -> None:
    table = Table("", "objects", "objects/s", "CPU us each", title=f"{name.capitalize()}, without the network")
    for title, run in result.items():
        if isinstance(run, dict):
            table.add_row(
                title.replace("_", " "),
                f"{run['objects']:,}",
                f"{run['objects_per_second']:,.0f}",
                f"{run['cpu_us_per_object']:.0f}",
            )
    table.caption = (
        f"at most {result['peak_mib']:.0f} MiB, of which {result['peak_mib_at_start']:.0f} before the first page"
    )
    console.print(_right(table))


def say_backfill(result: dict[str, Any]) -> None:
    table = Table("", "objects", "objects/s", "requests/s", "CPU us each", title="Backfill")
    network = result["over_network"]
    runs = {name.replace("_", " "): result[name] for name in ("all_new", "unchanged")}
    for name in ("within_limits", "unchanged", "without_limits", "one_by_one"):
        runs[f"network, {name.replace('_', ' ')}"] = network[name]
    runs["paced, small pages"] = result["paced"]
    for name, run in runs.items():
        table.add_row(
            name,
            f"{run['objects']:,}",
            f"{run['objects_per_second']:,.0f}",
            f"{run['requests_per_second']:,.1f}" if "requests_per_second" in run else "",
            f"{run['cpu_us_per_object']:.0f}" if "cpu_us_per_object" in run else "",
        )
    table.caption = (
        f"generated: at most {result['peak_mib']:.0f} MiB, of which {result['peak_mib_at_start']:.0f} before the first page, "
        f"and {result['postgres_cpu_us_per_object']:.0f} us of Postgres each; "
        f"over the network: {network['peak_mib']:.0f} MiB; "
        f"paced: {result['paced']['share_of_allowed']:.0%} of the allowed rate"
    )
    console.print(_right(table))


def say_everyone(result: dict[str, Any]) -> None:
    table = Table("", "users", "seconds", "users/s", "ours", "Postgres", "MiB", title="Everyone computed again")
    for name in ("all_new", "unchanged", "plan", "all_changed"):
        run = result[name]
        table.add_row(
            name.replace("_", " "),
            f"{run['users']:,}",
            f"{run['seconds']:.1f}",
            f"{run['users_per_second']:,.0f}",
            f"{run['cpu_us_per_user']:.0f}",
            f"{run['postgres_cpu_us_per_user']:.0f}",
            f"{run['peak_mib']:.0f}",
        )
    one = result["one"]
    table.caption = (
        "in one process; CPU in microseconds a user; memory at its peak, "
        f"{one['peak_mib_at_start']:.0f} before the first; one: p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms"
    )
    console.print(_right(table))


def say_comparison(result: dict[str, Any]) -> None:
    table = Table("", "before", "now", "ratio", "least", "most")
    table.title = f"This tree against {result['revision']}: medians and ratios of {result['rounds']} rounds"
    for name, each in result["figures"].items():
        if not each["least"] == each["most"] == 1:
            ratios = (f"[bold]{each['ratio']:.2f}[/]", f"{each['least']:.2f}", f"{each['most']:.2f}")
            table.add_row(name.replace("_", " "), f"{each['before']:,.1f}", f"{each['now']:,.1f}", *ratios)
    console.print(_right(table))


def say_rest(mib: dict[str, float]) -> None:
    table = Table(*mib, title="MiB at rest (PSS)")
    table.add_row(*(f"{each:.0f}" for each in mib.values()))
    console.print(_right(table))


def say_revenue(result: dict[str, Any]) -> None:
    table = Table("the last 12 months of", "seconds", title=f"Revenue of {result['subscriptions']:,} subscriptions")
    for name, seconds in result["seconds"].items():
        table.add_row(name, f"{seconds:.2f}")
    size = f"{result['bytes'] / 2**20:.0f} MiB"
    table.caption = (
        f"{result['facts']:,} facts in {size}; recomputed in {result['computed']:.1f} + {result['moved']:.1f} s"
    )
    console.print(_right(table))


def say_console(result: dict[str, Any]) -> None:
    rows = result["rows"]
    title = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    columns = ("first", "p50", "p90", "max", "cpu")
    table = Table("", *columns, title=f"Pages of the console in milliseconds, {title}")
    for name, took in result["pages_ms"].items():
        table.add_row(name, *(f"{took[column]:.0f}" for column in columns))
    shares = result["tabs_percent_of_a_core"]
    table.caption = "three open tabs, percent of a core: " + ", ".join(
        f"{name} {of:.1f}" for name, of in shares.items()
    )
    console.print(_right(table))
    console.print("Deliveries without tabs, with three, and both again:")
    say_latency(result["latency"])


def say_observing(result: dict[str, Any]) -> None:
    columns = ("quiet", "median", "from", "to")
    title = (
        f"The cost of metrics and traces: CPU of an event in microseconds, and percent added, {result['rounds']} rounds"
    )
    table = Table("", "in all", "web, worker: quiet", *columns, title=title)
    for name, used in result["cpu_us_per_event"].items():
        added = result["added_percent"].get(name)
        cells = [f"{added[column]:+.1f}" for column in columns] if added else [""] * len(columns)
        table.add_row(name, f"{used:.0f}", f"{result['quiet_us'][name]:.0f}", *cells)
    console.print(_right(table))


def say_scale(run: dict[str, Any]) -> None:
    title = f"Nearly empty tables, and {run['events']:,} done events with {run['objects']:,} objects"
    table = Table("", "empty", "full", "ratio", title=title)
    for name, empty in run["empty"].items():
        full = run["full"][name]
        table.add_row(name, f"{empty:.2f}", f"{full:.2f}", f"{full / empty:.2f}")
    console.print(_right(table))
    sizes = Table("", "rows", "MB", "of that, indexes", title="Sizes")
    for each in run["sizes"]:
        sizes.add_row(
            each["name"], f"{each['rows']:,}", f"{each['bytes'] / 1e6:,.0f}", f"{each['index_bytes'] / 1e6:,.0f}"
        )
    console.print(_right(sizes))


def say_sizes(result: dict[str, Any]) -> None:
    for table, run in result.items():
        shown = Table("", "bytes a row", title=f"{table}: {run['bytes']:.0f} bytes a row, {run['rows']:,} rows")
        for name, size in (run["columns"] | {"headers and free space": run["headers and free space"]}).items():
            shown.add_row(name, f"{size:.0f}")
        for name, size in run["indexes"].items():
            shown.add_row(f"index {name}", f"{size:.0f}")
        console.print(_right(shown))


def say_profile(result: dict[str, Any]) -> None:
    alone = result["one event alone"]
    for kind, run in ((kind, run) for kind, run in result.items() if run is not alone):
        head = ("worker_us", "postgres_us", "postgres_storing_us", "executing_us", "planning_us", "statements_a_batch")
        console.print(f"{kind}: " + ", ".join(f"{name} {run[name]:.0f}" for name in head))
        table = _right(Table("statement, us an event", "executed", "planned", "calls"))
        for each in run["statements"]:
            table.add_row(
                escape(each["statement"]), f"{each['executed_us']:.1f}", f"{each['planned_us']:.1f}", f"{each['calls']}"
            )
        console.print(table)
        table = _right(Table("function, us an event", "own", "with callees", "calls"))
        for each in run["functions"]:
            table.add_row(
                escape(each["function"]), f"{each['own_us']:.1f}", f"{each['with_callees_us']:.1f}", f"{each['calls']}"
            )
        console.print(table)
    for type_, run in alone.items():
        console.print(f"one {type_} alone: {run['statements']} statements, {run['round_trips']} round trips")


def _right(table: Table) -> Table:
    for column in table.columns[1:]:
        column.justify = "right"
    return table
