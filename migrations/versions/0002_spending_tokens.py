"""Spending tokens: `token_balance` and `consume_tokens`, for the application."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Both judge by the wall clock, not by the transaction's start: a balance that lapsed while we waited for it is gone.
READ_BALANCE = """
create or replace function public.token_balance(user_id text) returns int
language plpgsql stable as $$
declare
    balance int;
begin
    select case when u.tokens_expires_at <= clock_timestamp() then 0 else u.tokens end
    into balance
    from public.users as u
    where u.id = token_balance.user_id;
    if not found then
        raise exception 'token_balance: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return balance;
end
$$
"""

# One UPDATE: whoever grants, sweeps or spends at the same time holds the row, and the guard is tried again after them.
SPEND = """
create or replace function public.consume_tokens(user_id text, n int) returns boolean
language plpgsql as $$
begin
    if n is null or n <= 0 then
        raise exception 'consume_tokens: n: must be more than 0, and is %', coalesce(n::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    update public.users as u
    set tokens = u.tokens - n
    where u.id = consume_tokens.user_id
        and u.tokens >= n
        and (u.tokens_expires_at is null or u.tokens_expires_at > clock_timestamp());
    if found then
        return true;
    end if;
    perform from public.users as u where u.id = consume_tokens.user_id;
    if not found then
        raise exception 'consume_tokens: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return false;
end
$$
"""


def upgrade() -> None:
    op.execute(READ_BALANCE)
    op.execute(SPEND)


def downgrade() -> None:
    op.execute("drop function public.consume_tokens(text, int)")
    op.execute("drop function public.token_balance(text)")
