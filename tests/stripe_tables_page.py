"""Write docs/stripe-tables.md from the catalogue: `python -m tests.stripe_tables_page`."""

from pathlib import Path

from schema import catalogue, views

PAGE = Path(__file__).parent.parent / "docs" / "stripe-tables.md"

INTRODUCTION = """# Stripe's objects as views

For application developers. Every object type that Stripe lists is a view in the schema `stripe` (STRIPE_SCHEMA), named
after its list's path. This page is generated from `schema/catalogue.json` by `python -m tests.stripe_tables_page`.

- Every documented field of the object is a column: times as `timestamptz`, amounts (in the currency's smallest unit) and
  counts as `bigint`, decimals as `numeric`, references as the id (even if Stripe sent the whole object), and nested
  values as `jsonb`. A value of an undocumented kind is shown as null and causes no error.
- `data` is the object as Stripe sent it. `account` is the connected account, empty for your own. If the object has a field
  `account`, the view shows it as `account_id`. Rows of deleted objects stay, marked `deleted`. The columns from
  `observed_at` on show how current the row is. `unsettled` rows will be read from Stripe again.
- Filters by `id`, `customer`, `created` (with `account`) and the references of types with a table of their own use an index.
- Objects that are read from a parent's list have a column with the parent's id: `customer` in `active_entitlements`,
  `credit_note` in `credit_note_lines`, `payout` in `balance_transactions`. If Stripe shows only a part of such a list, the
  parent is `unsettled` until the whole list has been read.
- Types that are not listed here are kept in `stripe.other_objects`, which has every object without a table of its own.

    select column_name, data_type from information_schema.columns where table_schema = 'stripe' and table_name = 'charges';

## Views
"""


def render() -> str:
    """Return the page: every view, and every list or object type that is left out."""
    lists = catalogue.lists()
    paths: dict[str, dict[str, None]] = {}
    for row in lists.values():
        for object_ in row.objects:
            paths.setdefault(object_, {})[f"`{row.path}`"] = None
    lines = [INTRODUCTION, "| view | object | columns | table | read from |", "|---|---|---|---|---|"]
    for type_ in sorted(catalogue.types().values(), key=lambda type_: type_.view):
        read = ", ".join(paths.get(type_.name, ("events only",)))
        table = views.table_of(type_).name
        lines.append(f"| {type_.view} | `{type_.name}` | {len(views.columns(type_))} | mirror.{table} | {read} |")
    lines.append(
        "\nThe views `quote_line_items` and `payment_link_line_items` show the `item` objects of quotes and of payment links."
        "\n\n## Left out\n"
    )
    lines += ["| list or object | reason |", "|---|---|"]
    left_out = catalogue.left_out()
    lines += [f"| `{name}` | {why} |" for kind in ("lists", "types") for name, why in left_out[kind].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
