"""A connection with prepared statements survives a migration."""

import asyncio

import psycopg

from worker.config.settings import Settings
from worker.postgres.plans import KEPT, keep
from worker.postgres.pool import async_pool, connect

QUERY = "select id, attempts from sync.events where id = %s"
CHANGE = "alter table sync.events alter column attempts type bigint"


def test_a_statement_with_a_stale_plan_is_prepared_again(settings: Settings, conn: psycopg.Connection) -> None:
    with connect(settings, application="test") as used:
        for _ in range(10):
            used.execute(QUERY, ("evt_1",))
        conn.execute(CHANGE)

        assert used.execute(QUERY, ("evt_1",)).fetchall() == []


def test_a_stale_statement_is_prepared_again_after_its_transaction_failed(
    settings: Settings, conn: psycopg.Connection
) -> None:
    with connect(settings, application="test") as used:
        for _ in range(10):
            used.execute(QUERY, ("evt_1",))
        conn.execute(CHANGE)
        failed = False
        try:
            with used.transaction():
                used.execute("select 1")
                used.execute(QUERY, ("evt_1",))
        except psycopg.errors.FeatureNotSupported:
            failed = True

        with used.transaction():
            assert used.execute(QUERY, ("evt_1",)).fetchall() == []
    assert failed


def test_the_webhook_endpoint_s_connections_survive_a_migration(settings: Settings, conn: psycopg.Connection) -> None:
    async def use() -> list[tuple[object, ...]]:
        async with async_pool(settings, application="test", size=1) as pool, pool.connection() as used:
            for _ in range(10):
                await used.execute(QUERY, ("evt_1",))
            conn.execute(CHANGE)
            return await (await used.execute(QUERY, ("evt_1",))).fetchall()

    assert asyncio.run(use()) == []


def test_keep_changes_settings_until_the_function_that_it_returns_restores_them(settings: Settings) -> None:
    names = sorted(KEPT)

    def present(used: psycopg.Connection) -> dict[str, object]:
        row = used.execute("select " + ", ".join(f"current_setting('{name}')" for name in names)).fetchone()
        assert row is not None
        return dict(zip(names, row, strict=True))

    with connect(settings, application="test") as used, used.transaction():
        used.execute("set local enable_hashjoin = off")
        before = present(used)
        restore = keep(used)
        kept = present(used)
        restore()
        after = present(used)

    assert kept == KEPT
    assert after == before
    assert before["plan_cache_mode"] == "force_custom_plan"
    assert before["enable_hashjoin"] == "off"
