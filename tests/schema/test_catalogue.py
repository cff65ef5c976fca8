"""The catalogue of Stripe's types compared with the pinned SDK, and the views made from it."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from schema import catalogue, read_sdk, sdk_choices, views
from worker.mirror.registry import TYPES
from worker.stripe_api.lists import LISTS

MOMENT = 1_767_225_600
# For each kind: the type of the view's column, a value from Stripe, and the same value as the view shows it.
KINDS: dict[str, tuple[str, Any, Any]] = {
    "text": ("text", "said", "said"),
    "id": ("text", {"id": "x_2", "object": "other"}, "x_2"),
    "bigint": ("bigint", 9_007_199_254_740_993, 9_007_199_254_740_993),
    "numeric": ("numeric", "12.5", "12.5"),
    "boolean": ("boolean", True, "true"),
    "timestamptz": ("timestamp with time zone", MOMENT, MOMENT),
    "milliseconds": ("timestamp with time zone", MOMENT * 1000, MOMENT),
    "jsonb": ("jsonb", {"a": 1}, '{"a": 1}'),
}


def test_the_catalogue_equals_the_sdk() -> None:
    written = json.loads(catalogue.FILE.read_text())

    assert written == read_sdk.catalogue(), (
        "the SDK has changed: run `python -m schema.read_sdk` and read the difference"
    )
    assert catalogue.FILE.read_text() == read_sdk.rendered(written)


def test_a_new_field_in_the_sdk_is_noticed(tmp_path: Path) -> None:
    """A copy of the SDK's files with one more field."""
    sdk = tmp_path / "stripe"
    for file in read_sdk.sdk().rglob("*.py"):
        copy = sdk / file.relative_to(read_sdk.sdk())
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(file)
    coupon = sdk / "_coupon.py"
    source = coupon.read_text().replace("    valid: bool\n", "    valid: bool\n    invented: Optional[int]\n")
    coupon.unlink()
    coupon.write_text(source)

    result = read_sdk.catalogue(sdk)

    assert result["types"]["coupon"]["fields"]["bigint"].count("invented") == 1
    assert result != json.loads(catalogue.FILE.read_text())


def test_a_new_type_in_the_sdk_needs_a_view_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sdk_choices.LEFT_OUT_TYPES, "token")

    with pytest.raises(read_sdk.Undecided, match="LEFT_OUT_TYPES: token"):
        read_sdk.catalogue()


def test_every_list_is_read_or_covered_by_another_or_excluded_with_a_reason() -> None:
    lists = catalogue.lists()

    assert {name for name, row in lists.items() if row.read_with is None} == LISTS.keys()
    assert {row.read_with for row in lists.values()} - {None} <= LISTS.keys()
    assert all(len(why) > 20 for reasons in catalogue.left_out().values() for why in reasons.values())
    for row in LISTS.values():
        assert row.parent is None or LISTS[row.parent].object is not None, row.name


def test_every_listed_type_has_a_view_named_after_its_path() -> None:
    for row in catalogue.lists().values():
        for object_ in row.objects:
            assert catalogue.types()[object_].view in views.VIEWS
    paths = {
        row.path.removeprefix("/v1/").replace("/", "_")
        for row in catalogue.lists().values()
        if "{" not in row.path and row.name != "entitlements_active_entitlements"
    }

    assert paths <= views.VIEWS.keys()


def test_a_type_with_a_table_has_all_of_its_columns_in_its_view() -> None:
    for type_ in TYPES.values():
        shown = views.columns(catalogue.types()[type_.name])

        assert set(type_.table.columns) <= shown.keys(), type_.name
        assert type_.fetchable or type_.name == "product_feature"


def put(conn: psycopg.Connection, type_: catalogue.StripeType, obj: dict[str, Any], id_: str) -> None:
    """Insert a row. The table's own columns stay empty, because only the registry would fill them."""
    table = views.table_of(type_).name
    extra = {"object": type_.name, "customer": "cus_1", "parent": "x_9"} if table == "objects" else {}
    conn.execute(
        f"""
        insert into mirror.{table} (id, data, observed_at, observed_rank, observed_in, content_hash, shape, created,
            {"".join(f"{name}, " for name in extra)} deleted)
        values (%s, %s, now(), 0, 'get', '', '', to_timestamp({MOMENT}), {"%s, " * len(extra)} false)
        """,
        (id_, Jsonb(obj), *extra.values()),
    )


def shown(conn: psycopg.Connection, view: str, id_: str) -> dict[str, Any]:
    """A row of a view as JSON, with times as text."""
    row = conn.execute(
        f"""
        select to_jsonb(v) from stripe.{view} as v where id = %s
        """,
        (id_,),
    ).fetchone()
    assert row is not None
    result: dict[str, Any] = row[0]
    return result


def column_types(conn: psycopg.Connection) -> dict[tuple[str, str], str]:
    rows = conn.execute(
        "select table_name, column_name, data_type from information_schema.columns where table_schema = 'stripe'"
    )
    return {(table, column): type_ for table, column, type_ in rows}


def test_every_field_is_a_typed_column_that_shows_what_stripe_sent(conn: psycopg.Connection) -> None:
    declared = column_types(conn)
    for type_ in catalogue.types().values():
        columns = views.columns(type_)
        sent = {name: KINDS[kind][1] for name, kind in type_.fields.items()}
        odd = {name: [1.5] if kind != "jsonb" else None for name, kind in type_.fields.items()}
        put(conn, type_, sent, "x_1")
        put(conn, type_, odd, "x_odd")
        put(conn, type_, {}, "x_empty")

        full, strange, empty = (shown(conn, type_.view, id_) for id_ in ("x_1", "x_odd", "x_empty"))

        for column, (field, expression) in columns.items():
            assert (type_.view, column) in declared
            if not field or expression == column or expression.startswith('"'):
                continue  # the table's own column, tested in tests/mirror/test_registry.py
            kind = type_.fields[field]
            data_type, given, expected = KINDS[kind]
            assert declared[type_.view, column] == data_type, (type_.name, column)
            assert empty[column] is None
            if kind in ("text", "id"):
                assert strange[column] == "[1.5]"
            else:
                assert strange[column] is None, (type_.name, column)
            if kind in ("timestamptz", "milliseconds"):
                assert full[column].startswith("2026-01-01T00:00:00"), (type_.name, column)
            elif kind == "numeric":
                assert str(full[column]) == expected
            elif kind == "jsonb":
                assert full[column] == given
            elif kind == "boolean":
                assert full[column] is True
            else:
                assert full[column] == expected, (type_.name, column)


@pytest.mark.parametrize(
    ("function", "sent", "expected"),
    [
        ("as_bigint", "12", None),
        ("as_bigint", 1e30, None),
        ("as_bigint", 1.5, None),
        ("as_bigint", 12.0, 12),
        ("as_bigint", -(2**63), -(2**63)),
        ("as_numeric", "1e5", None),
        ("as_numeric", "-0.30", "-0.30"),
        ("as_numeric", "twelve", None),
        ("as_numeric", 7.25, "7.25"),
        ("as_boolean", "true", None),
        ("as_boolean", False, "false"),
        ("as_time", "2026-01-01", None),
        ("as_time", 1e15, None),
        ("as_id", "cus_1", "cus_1"),
        ("as_id", {"id": "cus_1"}, "cus_1"),
        ("as_id", {"name": "none"}, None),
    ],
)
def test_a_value_of_another_kind_never_fails(
    conn: psycopg.Connection, function: str, sent: object, expected: object
) -> None:
    row = conn.execute(f"select mirror.{function}(%s)::text, mirror.{function}(null), mirror.{function}('null')",
                       (Jsonb(sent),)).fetchone()  # fmt: skip

    assert row == (None if expected is None else str(expected), None, None)


def fill(conn: psycopg.Connection, table: str, object_: str) -> None:
    """Insert enough rows that an index costs less than reading the whole table."""
    column, value = ("object, parent, ", f"'{object_}', 'cus_' || n, ") if object_ else ("", "")
    subscription = ("subscription, ", "'sub_' || n, ") if table == "invoices" else ("", "")
    conn.execute(
        f"""
        insert into mirror.{table} (id, {column}{subscription[0]}customer, created, data, observed_at, observed_rank,
            observed_in, content_hash, shape)
        select 'x_' || n, {value}{subscription[1]}'cus_' || n, now() - make_interval(days => n), '{{}}', now(), 0, '', '', ''
        from generate_series(1, 1000) as n
        """
    )
    conn.execute(f"analyze mirror.{table}")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("select * from stripe.charges where id = 'ch_1'", "pk_charges"),
        ("select amount, receipt_url from stripe.charges where customer = 'cus_1'", "ix_charges_customer"),
        (
            "select * from stripe.charges where account = '' and created > now() - interval '1 day'",
            "ix_charges_created",
        ),
        ("select * from stripe.setup_intents where id = 'seti_1'", "pk_objects"),
        ("select * from stripe.setup_intents where customer = 'cus_1'", "ix_objects_customer"),
        ("select * from stripe.active_entitlements where customer = 'cus_1'", "ix_objects_parent"),
        (
            "select * from stripe.tax_ids where account = '' and created > now() - interval '1 day'",
            "ix_objects_created",
        ),
        ("select * from stripe.invoices where subscription = 'sub_1'", "ix_invoices_subscription"),
    ],
)
def test_filters_through_a_view_use_an_index(conn: psycopg.Connection, query: str, index: str) -> None:
    for table in ("charges", "invoices"):
        fill(conn, table, "")
    for object_ in ("setup_intent", "entitlements.active_entitlement", "tax_id"):
        fill(conn, "objects", object_)
    plan = "\n".join(row[0] for row in conn.execute(f"explain {query}"))

    assert index in plan, plan


def test_reading_a_field_is_inlined_into_the_query(conn: psycopg.Connection) -> None:
    plan = "\n".join(row[0] for row in conn.execute("explain verbose select * from stripe.charges"))

    assert not re.search(r"mirror\.as_\w+\(", plan), plan
