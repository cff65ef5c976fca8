"""Everything that is stored, as SQLAlchemy tables and ORM classes: inbox, mirror and membership.

`schema.tables.metadata` holds all of it; a test compares it with a migrated database. This module itself imports no
SQLAlchemy, so that a process that needs no table pays nothing for them.
"""

# In an adopted database this schema holds our names for the application's tables; every session looks there first.
NAMES_SCHEMA = "sync_names"

# The schema of the views, where STRIPE_SCHEMA does not say otherwise, and the comment that tells ours from another tool's.
VIEWS_SCHEMA = "stripe"
VIEWS_MARK = "Views of stripe-sync: the Stripe objects that the schema mirror holds."
# Its name in a database; before revision 0009 it had no comment.
FIND_VIEWS_SCHEMA = f"""
    select nspname::text from pg_namespace where obj_description(oid, 'pg_namespace') = '{VIEWS_MARK}'
    union all
    select 'stripe' from pg_class
    where oid = to_regclass('stripe.subscription_items') and relkind = 'v'
        and obj_description(relnamespace, 'pg_namespace') is null and to_regclass('mirror.subscription_items') is not null
"""  # noqa: S608 - our own words
