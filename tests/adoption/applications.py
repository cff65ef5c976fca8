"""Databases as applications make them: what their tools write, shortened to what matters here."""

from schema.names import Names

# drizzle-orm with the tables of @auth/drizzle-adapter's documentation, and a role of the application's own.
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

# Prisma: camel case, timestamp(3), an enum of its own, updatedAt kept by the client, and a table of customers.
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

# Somebody's own SQL, with our names for some of it: roles in text, no foreign keys, an index of another name.
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
