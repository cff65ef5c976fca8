"""The functions and triggers of the database, as SQL templates with the names and types of the application's tables.

FUNCTIONS and TRIGGERS are for a database with our names. `schema.names` fills in the templates for an adopted database.
`migrations` has separate copies, because a revision never changes. A test compares a migrated database with these.
"""

from collections.abc import Mapping

from schema.revenue import DISCOUNTED

# Measured: per event, storing the body takes Postgres 50 us with lz4, and 140 us as jsonb. A server built without lz4
# stores the body uncompressed, which takes no more CPU.
COMPRESS_BODIES = """
do $$
begin
    alter table sync.events alter column body set compression lz4;
exception when feature_not_supported or invalid_parameter_value then
    alter table sync.events alter column body set storage external;
end
$$
"""

# `updated_at` is the time of the last update by any writer. If the update itself sets it, as an import may, that value stays.
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

# READ_BALANCE and SPEND use the clock, not the transaction's start, because a balance may expire while they wait for its row.
READ_BALANCE = """
create or replace function {public}.token_balance(user_id {user_type}) returns bigint
language plpgsql stable as $$
declare
    balance bigint;
begin
    select case when u.{tokens_expires_at} <= clock_timestamp() then 0 else u.{tokens} end
    into balance
    from {users} as u
    where u.{id} = token_balance.user_id;
    if not found then
        raise exception 'token_balance: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return balance;
end
$$
"""

# One UPDATE spends the tokens. It waits for a concurrent change of the same row, and then checks its condition again.
SPEND = """
create or replace function {public}.consume_tokens(user_id {user_type}, n bigint) returns boolean
language plpgsql as $$
begin
    if n is null or n <= 0 then
        raise exception 'consume_tokens: n: must be more than 0, and is %', coalesce(n::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    update {users} as u
    set {tokens} = u.{tokens} - n
    where u.{id} = consume_tokens.user_id
        and u.{tokens} >= n
        and (u.{tokens_expires_at} is null or u.{tokens_expires_at} > clock_timestamp());
    if found then
        return true;
    end if;
    perform from {users} as u where u.{id} = consume_tokens.user_id;
    if not found then
        raise exception 'consume_tokens: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return false;
end
$$
"""

# A banned user keeps the rows of user_features, but has no feature. plpgsql keeps the query's plan for the session.
HAS_FEATURE = """
create or replace function {public}.has_feature(user_id {user_type}, feature text) returns boolean
language plpgsql stable as $$
begin
    return exists (
        select from {user_features} as f
        where f.{features_user_id} = has_feature.user_id and f.{features_feature} = has_feature.feature
            and (f.{features_until} is null or f.{features_until} > clock_timestamp())
            and exists (select from {users} as u where u.{id} = f.{features_user_id} and u.{role}::text <> 'BANNED')
    );
end
$$
"""

# If the application moves a user into or out of an organization, the user becomes due to be computed. The function runs
# with its owner's rights, and only triggers may call it, so the application's role needs no rights in `sync`. This trigger
# and the transaction that computes the user both lock the user's row. A computation that has not seen the new
# organization can therefore not clear the due time.
FOLLOW_ORGANIZATION = """
create or replace function sync.follow_organization() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.next_changes as a (user_id, due_at) values (new.{id}::text, now())
    on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at);
    return null;
end
$$
"""

# A change gets its id when its transaction commits, and a lock lets only one transaction do this at a time. Ids are therefore
# in the order in which changes become visible, and a reader that continues after an id misses no change. Deferred triggers run
# last, so no lock is taken after this one.
PUBLISH_CHANGE = """
create or replace function sync.publish_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    change bigint;
begin
    perform pg_advisory_xact_lock(7165064744911531620);
    insert into sync.changes (user_id, type, before, after, reason, sources, traceparent)
    values (new.user_id, new.type, new.before, new.after, new.reason, new.sources, new.traceparent)
    returning id into change;
    delete from sync.change_drafts where id = new.id;
    perform pg_notify('stripe_sync_changes', change::text);
    return null;
end
$$
"""

# The trigger's arguments are the names of columns of `users`: the key, then the columns that are reported. The names may
# differ in an adopted database.
NOTICE_LOW_TOKENS = """
create or replace function sync.notice_low_tokens() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    threshold bigint;
    features jsonb;
    was jsonb;
    now_is jsonb;
begin
    select (c.value ->> 'tokens_low')::bigint into threshold from sync.cursors as c where c.name = 'changes';
    if threshold is null then
        return null;
    end if;
    was := to_jsonb(old);
    now_is := to_jsonb(new);
    if coalesce((was ->> tg_argv[4])::bigint, -1) < threshold or (now_is ->> tg_argv[4])::bigint >= threshold then
        return null;
    end if;
    select coalesce(jsonb_agg(distinct f.{features_feature} order by f.{features_feature}), '[]') into features
    from {user_features} as f
    where f.{features_user_id} = sync.user_key(now_is ->> tg_argv[0]);
    insert into sync.change_drafts (user_id, type, before, after, reason)
    values (
        now_is ->> tg_argv[0],
        'tokens.low',
        jsonb_build_object('role', was -> tg_argv[1], 'membership_status', was -> tg_argv[2],
            'stripe_product_id', was -> tg_argv[3], 'features', features, 'tokens', was -> tg_argv[4]),
        jsonb_build_object('role', now_is -> tg_argv[1], 'membership_status', now_is -> tg_argv[2],
            'stripe_product_id', now_is -> tg_argv[3], 'features', features, 'tokens', now_is -> tg_argv[4]),
        'below_threshold'
    );
    return null;
end
$$
"""

# The daemon stores ids as text. Its statements compare `u.id = sync.user_key(...)`, which casts the value instead of the
# application's column. Postgres inlines these functions, so it can use the application's indexes. For a text that is not a
# valid id they return null, which matches no user.
USER_KEY = """
create or replace function sync.user_key(id text) returns {user_type}
language sql immutable parallel safe as $$ select {user_key} $$
"""
USER_KEYS = """
create or replace function sync.user_keys(ids text[]) returns {user_type}[]
language sql immutable parallel safe as $$ select {user_keys} $$
"""
ORGANIZATION_KEY = """
create or replace function sync.organization_key(id text) returns {organization_type}
language sql immutable parallel safe as $$ select {organization_key} $$
"""

KEEP_TO_THE_TRIGGERS = (
    "revoke execute on function sync.follow_organization(), sync.publish_change(), sync.notice_low_tokens() from public"
)

# The views read fields of the raw object with these functions. They never fail: for a value of an undocumented kind, they
# return null. Postgres inlines them into the query, so it can use an index on the same expression.
_READ_FIELDS = {
    "as_id(value jsonb) returns text": "case jsonb_typeof(value) when 'object' then value ->> 'id' else value #>> '{}' end",
    "as_boolean(value jsonb) returns boolean": "case jsonb_typeof(value) when 'boolean' then value::boolean end",
    "as_bigint(value jsonb) returns bigint": """case jsonb_typeof(value)
    when 'number' then
        case
            when value::numeric % 1 = 0 and value::numeric between -9223372036854775808 and 9223372036854775807
            then value::bigint
        end
end""",
    "as_numeric(value jsonb) returns numeric": r"""case jsonb_typeof(value)
    when 'number' then value::numeric
    when 'string' then case when value #>> '{}' ~ '^[+-]?\d{1,99}(\.\d{1,99})?$' then (value #>> '{}')::numeric end
end""",
    "as_time(value jsonb, per_second integer default 1) returns timestamptz": """case jsonb_typeof(value)
    when 'number' then
        case
            when abs(value::numeric / per_second) < 100000000000
            then to_timestamp((value::numeric / per_second)::double precision)
        end
end""",
}

# Functions for the ids of rows that the daemon adds to the application's tables. If ids are text, the id is Stripe's. If
# they are numbers or uuids, an existing row keeps its id, and a new row gets the next one.
ROW_IDS: dict[str, tuple[str, str]] = {
    "stripe_customers": ("sync.customer_row_id", "stripe_customer_id"),
    "user_subscriptions": ("sync.subscription_row_id", "stripe_subscription_id"),
    "payment_history": ("sync.payment_row_id", "stripe_payment_intent_id"),
}
ROW_ID = """
create or replace function {function}(stripe_id text) returns {type}
language sql {volatility} as $$ select {row_id} $$
"""
# Columns with values from a list of Stripe's words, such as statuses. In our tables they are text. If the application's column
# is an enum, the word is written as the enum's label that is equal apart from case: ACTIVE for active. If there is no such
# label, the table refuses the row, and the row is held back.
WORDS: dict[tuple[str, str], str] = {
    ("stripe_prices", "type"): "sync.price_type",
    ("stripe_prices", "interval"): "sync.price_interval",
    ("user_subscriptions", "status"): "sync.subscription_status",
    ("payment_history", "status"): "sync.payment_status",
}
WORD = """
create or replace function {function}(word text) returns {type}
language sql {volatility} as $$ select {value} $$
"""
_LABEL = """coalesce(
    (
        select e.enumlabel::text from pg_catalog.pg_enum as e
        where e.enumtypid = '{literal}'::regtype and lower(e.enumlabel) = $1
        order by e.enumlabel <> $1
        limit 1
    ), $1)::{type}"""
_ROW_ID_APART = "coalesce((select t.{id} from {table} as t where t.{key} = $1), {next})"

# If users' ids are not text, this replaces the foreign keys from tables of `sync`, whose columns are text.
FORGET_USER = """
create or replace function sync.forget_user() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
{deletes}
    return null;
end
$$
"""
USER_DELETED = "create trigger user_deleted after delete on {users} for each row execute function sync.forget_user()"

# The types other than text that `users.id` may have, each with an expression that converts a text to it, or returns null.
_UUID = "case when $1 ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then $1::uuid end"
_NUMBER = "case when $1 ~ '^(0|[1-9][0-9]{0,18})$' then case when $1::numeric <= %s then $1::%s end end"
KEYS: dict[str, str] = {
    "uuid": _UUID,
    "smallint": _NUMBER % (2**15 - 1, "smallint"),
    "integer": _NUMBER % (2**31 - 1, "integer"),
    "bigint": _NUMBER % (2**63 - 1, "bigint"),
}


def row_id(table: str, type_: str | None, names: Mapping[str, str]) -> str:
    """The statement for the function that returns the id of a row in this table.

    `type_` is the type of the ids, or None for text. `names` has the names of the table, its id column and its key column.
    """
    function, _ = ROW_IDS[table]
    if type_ is None:
        return ROW_ID.format(function=function, type="text", volatility="immutable parallel safe", row_id="$1")
    next_ = (
        "gen_random_uuid()"
        if type_ == "uuid"
        else (f"nextval(pg_get_serial_sequence('{names['table_literal']}', '{names['id_literal']}'))::{type_}")
    )
    made = _ROW_ID_APART.format(**names, next=next_)
    return ROW_ID.format(function=function, type=type_, volatility="volatile", row_id=made)


def word(table: str, column: str, type_: str | None) -> str:
    """The statement for the function that converts Stripe's word to a value of this column.

    `type_` is the application's enum, or None for text.
    """
    function = WORDS[table, column]
    if type_ is None:
        return WORD.format(function=function, type="text", volatility="immutable parallel safe", value="$1")
    value = _LABEL.format(literal=type_.replace("'", "''"), type=type_)
    return WORD.format(function=function, type=type_, volatility="stable", value=value)


def made(
    names: Mapping[str, str], row_ids: Mapping[str, str], words: Mapping[str, str], *, forgets: str = ""
) -> dict[str, str]:
    """Return the functions by name, filled with these names and types (see `schema.names.Names.functions`)."""
    templates = {
        "sync.touch_updated_at": TOUCH_UPDATED_AT,
        "public.token_balance": READ_BALANCE,
        "public.consume_tokens": SPEND,
        "public.has_feature": HAS_FEATURE,
        "sync.follow_organization": FOLLOW_ORGANIZATION,
        "sync.publish_change": PUBLISH_CHANGE,
        "sync.notice_low_tokens": NOTICE_LOW_TOKENS,
        "sync.user_key": USER_KEY,
        "sync.user_keys": USER_KEYS,
        "sync.organization_key": ORGANIZATION_KEY,
    }
    functions = {f"mirror.{name.partition('(')[0]}": _read_field(name) for name in _READ_FIELDS}
    functions |= {name: template.format(**names) for name, template in templates.items()}
    functions["sync.discounted_mrr"] = DISCOUNTED
    functions |= {ROW_IDS[table][0]: statement for table, statement in row_ids.items()}
    functions |= words
    if forgets:
        functions["sync.forget_user"] = FORGET_USER.format(deletes=forgets)
    return functions


def _read_field(name: str) -> str:
    return (
        f"create or replace function mirror.{name}\nlanguage sql immutable parallel safe\nreturn {_READ_FIELDS[name]}"
    )


def key_of(type_: str | None) -> str:
    """Return the expression that converts the text $1 to a key of this type. `type_` is None for text."""
    return "$1" if type_ is None else KEYS[type_]


REPORTED_COLUMNS = ("id", "role", "membership_status", "stripe_product_id", "tokens")

_OURS = {
    "reported_columns": ", ".join(f"'{column}'" for column in REPORTED_COLUMNS),
    "public": "public",
    "users": "public.users",
    "user_features": "public.user_features",
    "features_user_id": "user_id",
    "features_feature": "feature",
    "features_until": "until",
    "id": "id",
    "role": "role",
    "tokens": "tokens",
    "tokens_expires_at": "tokens_expires_at",
    "organization_id": "organization_id",
    "user_type": "text",
    "user_key": "$1",
    "user_keys": "$1",
    "organization_type": "text",
    "organization_key": "$1",
}

FUNCTIONS: dict[str, str] = made(
    _OURS,
    {table: row_id(table, None, {}) for table in ROW_IDS},
    {function: word(*column, None) for column, function in WORDS.items()},
)

# The triggers are not limited to `update of organization_id`, because a trigger of the application may set the column in a
# statement that does not mention it.
USERS_TRIGGER_TEMPLATES: dict[str, str] = {
    "organization_joined": (
        "create trigger organization_joined after insert on {users} "
        "for each row when (new.{organization_id} is not null) execute function sync.follow_organization()"
    ),
    "organization_changed": (
        "create trigger organization_changed after update on {users} "
        "for each row when (old.{organization_id} is distinct from new.{organization_id}) "
        "execute function sync.follow_organization()"
    ),
    "tokens_spent": (
        "create trigger tokens_spent after update on {users} "
        "for each row when (new.{tokens} < old.{tokens}) "
        "execute function sync.notice_low_tokens({reported_columns})"
    ),
}
USERS_TRIGGERS = {name: template.format(**_OURS) for name, template in USERS_TRIGGER_TEMPLATES.items()}

PUBLISH_TRIGGER = (
    "create constraint trigger publish after insert on sync.change_drafts deferrable initially deferred "
    "for each row execute function sync.publish_change()"
)

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


def touch_trigger(relation: str) -> str:
    """The statement for the trigger that sets a table's `updated_at`. `relation` is the quoted schema and name."""
    return (
        f"create trigger touch_updated_at before update on {relation} "
        "for each row execute function sync.touch_updated_at()"
    )


TRIGGERS: tuple[str, ...] = (
    *(touch_trigger(f"public.{table}") for table in TOUCHED_TABLES),
    *USERS_TRIGGERS.values(),
    PUBLISH_TRIGGER,
)
