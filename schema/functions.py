"""What the database does by itself: functions and triggers, in the words they are created with.

`migrations` carries its own copies, as every revision does; a test holds the database against these.
"""

__all__ = ["FUNCTIONS", "TOUCHED_TABLES", "touch_trigger"]

# Whoever updates a row, `updated_at` tells when; a writer that sets it by hand (an import, say) is believed.
TOUCH_UPDATED_AT = """
create or replace function sync.touch_updated_at() returns trigger
language plpgsql as $$
begin
    if new.updated_at is not distinct from old.updated_at then
        new.updated_at := now();
    end if;
    return new;
end
$$
"""

FUNCTIONS: dict[str, str] = {"sync.touch_updated_at": TOUCH_UPDATED_AT}

TOUCHED_TABLES: tuple[str, ...] = (
    "organizations",
    "users",
    "accounts",
    "sessions",
    "verification_tokens",
    "stripe_products",
    "stripe_prices",
    "stripe_customers",
    "user_subscriptions",
    "payment_history",
)


def touch_trigger(table: str) -> str:
    """The trigger that keeps a table's `updated_at`."""
    return (
        f"create trigger touch_updated_at before update on public.{table} "
        "for each row execute function sync.touch_updated_at()"
    )
