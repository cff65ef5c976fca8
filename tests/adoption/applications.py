"""Databases as applications create them: the SQL of their tools, shortened."""

from schema.names import Names

# drizzle-orm with the tables from @auth/drizzle-adapter's documentation, and the application's own enum of roles.
DRIZZLE = """
    create type role as enum ('USER', 'PREMIUM', 'MODERATOR');
    create table "user" (
        id text primary key not null, name text, email text, "emailVerified" timestamp, image text,
        role role not null default 'USER', constraint user_email_unique unique (email)
    );
    create table account (
        "userId" text not null references "user" (id) on delete cascade, type text not null, provider text not null,
        "providerAccountId" text not null, refresh_token text, access_token text, expires_at integer, token_type text,
        scope text, id_token text, session_state text, primary key (provider, "providerAccountId")
    );
    create table session (
        "sessionToken" text primary key not null, "userId" text not null references "user" (id) on delete cascade,
        expires timestamp not null
    );
    create table "verificationToken" (
        identifier text not null, token text not null, expires timestamp not null, primary key (identifier, token)
    );
    insert into "user" (id, email, "emailVerified", role) values
        ('jenny', 'jenny@example.com', now(), 'USER'), ('comped', 'comped@example.com', now(), 'PREMIUM'),
        ('mod', 'mod@example.com', now(), 'MODERATOR');
    insert into session values ('s', 'jenny', now());
"""
DRIZZLE_NAMES = Names(tables={"users": "user"}, columns={"users": {"email_verified": "emailVerified"}})

# Prisma: camel case, timestamp(3), its own enum, updatedAt written by the client, and a table of customers.
PRISMA = """
    create type "Role" as enum ('USER', 'ADMIN');
    create table "User" (
        "id" text not null, "email" text not null, "name" text, "emailVerified" timestamp(3), "image" text,
        "role" "Role" not null default 'USER', "createdAt" timestamp(3) not null default current_timestamp,
        "updatedAt" timestamp(3) not null, constraint "User_pkey" primary key ("id")
    );
    create unique index "User_email_key" on "User" ("email");
    create table "StripeCustomer" (
        "id" text not null, "userId" text not null, "stripeCustomerId" text not null,
        constraint "StripeCustomer_pkey" primary key ("id"),
        constraint "StripeCustomer_userId_fkey" foreign key ("userId") references "User" ("id")
            on delete restrict on update cascade
    );
    create unique index "StripeCustomer_userId_key" on "StripeCustomer" ("userId");
    create unique index "StripeCustomer_stripeCustomerId_key" on "StripeCustomer" ("stripeCustomerId");
    create table "Subscription" (
        "id" text not null primary key, "userId" text not null references "User" ("id"),
        "stripeCustomerId" varchar(255) not null, "stripeSubscriptionId" varchar(255) not null unique,
        "stripePriceId" varchar(255), "stripeProductId" varchar(255), "status" text not null,
        "currentPeriodStart" timestamp(3), "currentPeriodEnd" timestamp(3)
    );
    insert into "User" ("id", "email", "updatedAt") values
        ('jenny', 'jenny@example.com', now()), ('john', 'john@example.com', now());
    insert into "StripeCustomer" values ('1', 'jenny', 'cus_jenny');
"""
PRISMA_NAMES = Names(
    tables={"users": "User", "stripe_customers": "StripeCustomer", "user_subscriptions": "Subscription"},
    columns={
        "users": {"email_verified": "emailVerified", "created_at": "createdAt", "updated_at": "updatedAt",
                  "stripe_product_id": "stripeProductId"},
        "stripe_customers": {"user_id": "userId", "stripe_customer_id": "stripeCustomerId"},
        "user_subscriptions": {
            "user_id": "userId", "stripe_customer_id": "stripeCustomerId",
            "stripe_subscription_id": "stripeSubscriptionId", "stripe_price_id": "stripePriceId",
            "stripe_product_id": "stripeProductId", "current_period_start": "currentPeriodStart",
            "current_period_end": "currentPeriodEnd",
        },
    },
)  # fmt: skip

# Hand-written SQL with some of our names: roles as text, no foreign keys, an index with another name.
BY_HAND = """
    create table users (
        id varchar(36) primary key, email varchar(255) not null, role varchar(20) not null default 'USER',
        password_hash text not null, tokens bigint not null default 0, created_at timestamptz default now()
    );
    create unique index on users (email);
    create index users_by_email on users (lower(email));
    create table stripe_customers (
        id varchar(255) primary key, user_id varchar(36) not null, stripe_customer_id varchar(255) not null unique
    );
    insert into users (id, email, role, password_hash) values
        ('jenny', 'jenny@example.com', 'PREMIUM', 'x'), ('comped', 'comped@example.com', 'PREMIUM', 'x'),
        ('boss', 'boss@example.com', 'ADMIN', 'x');
    insert into stripe_customers values ('1', 'jenny', 'cus_jenny');
"""

# drizzle-kit with serial ids and identity columns as in its documentation, and Stripe tables with the names that
# stripe-sync expects.
DRIZZLE_SERIAL = """
    create table users (
        id serial primary key not null, email text not null unique, email_verified timestamp with time zone,
        name text not null default ''
    );
    create table stripe_customers (
        id integer primary key generated always as identity, user_id integer not null unique references users (id),
        stripe_customer_id varchar(255) not null unique
    );
    create table user_subscriptions (
        id serial primary key not null, user_id integer not null references users (id) on delete cascade,
        stripe_customer_id text not null, stripe_subscription_id text not null unique, stripe_price_id text,
        stripe_product_id text, status text not null, current_period_start timestamp with time zone,
        current_period_end timestamp with time zone, cancel_at_period_end boolean not null default false
    );
    create table payment_history (
        id bigint primary key generated by default as identity, user_id integer not null references users (id),
        stripe_payment_intent_id text not null unique, amount integer not null, currency text not null,
        status text not null
    );
    insert into users (id, email, email_verified) values (41, 'jenny@example.com', now()), (42, 'john@example.com', null);
"""

# drizzle-kit with uuid ids and a table of organizations.
DRIZZLE_UUID = """
    create table organizations (id uuid primary key default gen_random_uuid() not null, name text not null);
    create table users (
        id uuid primary key default gen_random_uuid() not null, email text not null unique,
        email_verified timestamp with time zone, organization_id uuid references organizations (id)
    );
    create table user_subscriptions (
        id uuid primary key default gen_random_uuid() not null, user_id uuid not null references users (id),
        stripe_customer_id text not null, stripe_subscription_id text not null unique, stripe_price_id text,
        stripe_product_id text, status text not null, current_period_start timestamp with time zone,
        current_period_end timestamp with time zone
    );
    insert into organizations values ('0a000000-0000-4000-8000-0000000000aa', 'Org');
    insert into users (id, email, email_verified, organization_id) values
        ('0a000000-0000-4000-8000-000000000041', 'jenny@example.com', now(), '0a000000-0000-4000-8000-0000000000aa'),
        ('0a000000-0000-4000-8000-000000000042', 'john@example.com', null, null);
"""

# Prisma with @db.Uuid: the client makes ids and updatedAt, so the database has no defaults for them.
PRISMA_UUID = """
    create table "User" (
        "id" uuid not null primary key, "email" text not null unique, "emailVerified" timestamp(3),
        "createdAt" timestamp(3) not null default current_timestamp, "updatedAt" timestamp(3) not null
    );
    create table "Subscription" (
        "id" uuid not null primary key, "userId" uuid not null references "User" ("id") on delete restrict,
        "stripeCustomerId" text not null, "stripeSubscriptionId" text not null unique, "stripePriceId" text,
        "stripeProductId" text, "status" text not null, "currentPeriodStart" timestamp(3),
        "currentPeriodEnd" timestamp(3), "createdAt" timestamp(3) not null default current_timestamp,
        "updatedAt" timestamp(3) not null
    );
    insert into "User" ("id", "email", "emailVerified", "updatedAt") values
        ('0a000000-0000-4000-8000-000000000041', 'jenny@example.com', now(), now()),
        ('0a000000-0000-4000-8000-000000000042', 'john@example.com', null, now());
"""
PRISMA_UUID_NAMES = Names(
    tables={name: called for name, called in PRISMA_NAMES.tables.items() if name != "stripe_customers"},
    columns={
        "users": PRISMA_NAMES.columns["users"],
        "user_subscriptions": {
            **PRISMA_NAMES.columns["user_subscriptions"],
            "created_at": "createdAt",
            "updated_at": "updatedAt",
        },
    },
)

# Django with a custom user model and BigAutoField: no defaults in the database, and e-mails that are not unique.
DJANGO = """
    create table accounts_user (
        id bigint not null primary key generated by default as identity, password varchar(128) not null,
        last_login timestamp with time zone, is_superuser boolean not null, username varchar(150) not null unique,
        email varchar(254) not null, is_active boolean not null, date_joined timestamp with time zone not null
    );
    insert into accounts_user (id, password, is_superuser, username, email, is_active, date_joined) values
        (1700000000000000041, 'x', false, 'jenny', 'jenny@example.com', true, now()),
        (1700000000000000042, 'x', false, 'john', '', true, now()), (7, 'x', false, 'system', '', true, now());
"""
DJANGO_NAMES = Names(tables={"users": "accounts_user"}, columns={"users": {"created_at": "date_joined"}})

# Supabase: users are in a separate schema. Their column `role` names a database role, not a role of the membership.
SUPABASE = """
    create schema auth;
    create table auth.users (
        id uuid not null primary key, aud varchar(255), role varchar(255), email varchar(255), encrypted_password varchar(255),
        email_confirmed_at timestamp with time zone, created_at timestamp with time zone,
        updated_at timestamp with time zone
    );
    create unique index users_email_partial_key on auth.users (email);
    insert into auth.users (id, role, email, email_confirmed_at) values
        ('0a000000-0000-4000-8000-000000000041', 'authenticated', 'jenny@example.com', now()),
        ('0a000000-0000-4000-8000-000000000042', 'authenticated', 'john@example.com', null);
"""
SUPABASE_NAMES = Names(
    tables={"users": "auth.users"},
    columns={"users": {"role": "membership_role", "email_verified": "email_confirmed_at"}},
)

# Prisma with the application's own enums, most with labels in capitals. Prisma's columns are required by default.
PRISMA_ENUMS = """
    create type "Role" as enum ('USER', 'ADMIN');
    create type "MembershipStatus" as enum ('ACTIVE', 'INACTIVE', 'CANCELED');
    create type "SubscriptionStatus" as enum ('ACTIVE', 'CANCELED', 'PAST_DUE');
    create type "Interval" as enum ('month', 'year');
    create type "PaymentStatus" as enum ('PENDING', 'PAID');
    create table "User" (
        "id" text not null primary key, "email" text not null, "name" text not null, "emailVerified" timestamp(3),
        "role" "Role" not null default 'USER', "membershipStatus" "MembershipStatus" not null default 'ACTIVE',
        "createdAt" timestamp(3) not null default current_timestamp, "updatedAt" timestamp(3) not null
    );
    create unique index "User_email_key" on "User" ("email");
    create table stripe_products (id text primary key, name text not null, active boolean not null);
    create table stripe_prices (
        id text primary key, product_id text not null references stripe_products (id), active boolean not null,
        type text not null, interval "Interval"
    );
    create table "Subscription" (
        "id" text not null primary key, "userId" text not null references "User" ("id") on delete cascade on update cascade,
        "stripeCustomerId" text not null, "stripeSubscriptionId" text not null unique, "stripePriceId" text not null,
        "stripeProductId" text not null, "status" "SubscriptionStatus" not null default 'ACTIVE',
        "currentPeriodStart" timestamp(3) not null, "currentPeriodEnd" timestamp(3) not null
    );
    create table payment_history (
        id text primary key, user_id text not null references "User" ("id"), stripe_payment_intent_id text not null unique,
        amount integer not null, currency text not null, status "PaymentStatus" not null,
        description text not null default ''
    );
    insert into "User" ("id", "email", "name", "emailVerified", "updatedAt") values
        ('clx1jenny0000', 'jenny@example.com', 'Jenny', now(), now()),
        ('clx1john00000', 'john@example.com', 'John', null, now());
"""
PRISMA_ENUMS_NAMES = Names(
    tables={"users": "User", "user_subscriptions": "Subscription"},
    columns={
        "users": {**PRISMA_NAMES.columns["users"], "membership_status": "membershipStatus"},
        "user_subscriptions": PRISMA_NAMES.columns["user_subscriptions"],
    },
)
