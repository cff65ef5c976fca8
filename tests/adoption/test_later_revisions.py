"""Later revisions change an adopted table under the application's name for it, and leave other tables unchanged."""

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

import migrations
from tests.adoption.applications import BY_HAND, DRIZZLE, DRIZZLE_NAMES, PRISMA, PRISMA_NAMES
from tests.adoption.catalogue import everything
from tests.adoption.conftest import Application

New = Callable[[str], Application]

# This revision uses tables and columns with other names, a table that the application may lack, and a type.
REVISION = '''
from migrations.files import execute
revision, down_revision, branch_labels, depends_on = "9999", "HEAD", None, None

def upgrade():
    execute("""
        alter table @{users} add column locale text;
        create index ix_users_locale on @{users} (locale, @{users.email_verified});
        alter table @{accounts} add column note @{user_role};
        update @{users} set @{users.name} = 'migrated ' || @{users.id};
        create table sync.notes (user_id text @{references users});
    """)

def downgrade():
    execute("""
        drop table sync.notes;
        alter table @{accounts} drop column note;
        alter table @{users} drop column locale
    """)
'''
FAILING = """
from migrations.files import execute
revision, down_revision, branch_labels, depends_on = "9999", "HEAD", None, None

def upgrade():
    execute("alter table @{users} add column locale text; select 1 / 0")
"""


def later(database: str, folder: Path, revision: str) -> Config:
    """Alembic's configuration with one more revision."""
    (folder / "r9999.py").write_text(revision.replace("HEAD", migrations.head()))
    config = migrations.configuration(database)
    versions = Path(migrations.__file__).parent / "versions"
    config.set_main_option("version_locations", f"{versions}\n{folder}")
    return config


def test_a_later_revision_changes_tables_with_other_names(application: New, tmp_path: Path) -> None:
    app = application(PRISMA)
    app.adopt(PRISMA_NAMES)
    before = everything(app.database)

    config = later(app.database, tmp_path, REVISION)
    command.upgrade(config, "head")
    up = everything(app.database)
    held = app.sql('select id, name from "User" order by id')
    command.downgrade(config, "-1")

    assert held == [("jenny", "migrated jenny"), ("john", "migrated john")]
    assert any('ix_users_locale ON public."User" USING btree (locale, "emailVerified")' in line for line in up)
    assert {line for line in before if line not in up} == set()
    assert everything(app.database) == before


def test_a_later_revision_does_not_change_unrelated_tables_with_our_names(application: New, tmp_path: Path) -> None:
    app = application(
        DRIZZLE + "create table users (id int, email_verified int); create index pk_accounts on users (id);"
    )
    app.adopt(DRIZZLE_NAMES)
    before = everything(app.database)

    config = later(app.database, tmp_path, REVISION)
    command.upgrade(config, "head")
    up = everything(app.database)
    command.downgrade(config, "-1")

    assert {line for line in before if line not in up} == set()
    assert everything(app.database) == before


def test_a_later_revision_works_with_membership_off(application: New, tmp_path: Path) -> None:
    app = application("create table users (id int primary key); create type user_role as enum ('a');")
    app.adopt(is_membership=False)
    before = everything(app.database)

    config = later(app.database, tmp_path, REVISION)
    command.upgrade(config, "head")
    up = everything(app.database)
    command.downgrade(config, "-1")

    assert [line for line in up if line.startswith("column public.users")] == [
        line for line in before if line.startswith("column public.users")
    ]
    assert any(line.startswith("column sync_names.users.locale") for line in up)
    assert everything(app.database) == before


def test_a_failing_later_revision_changes_nothing(application: New, tmp_path: Path) -> None:
    app = application(PRISMA)
    app.adopt(PRISMA_NAMES)
    before = everything(app.database)

    with pytest.raises(Exception, match="division by zero"):
        command.upgrade(later(app.database, tmp_path, FAILING), "head")

    assert everything(app.database) == before


def test_an_adopted_database_is_never_downgraded_to_nothing(application: New) -> None:
    app = application(BY_HAND)
    app.adopt()
    before = everything(app.database)

    with pytest.raises(migrations.Refused, match="was adopted"):
        migrations.downgrade(app.database, "base")

    steps = len(list(Path(migrations.__file__).parent.glob("versions/0*.py")))
    with pytest.raises(Exception, match=r"was adopted|does not exist"):
        migrations.downgrade(app.database, f"-{steps}")

    assert everything(app.database) == before
    assert app.sql("select count(*) from users") == [(3,)]
