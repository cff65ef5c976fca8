"""No page of the console scans a whole table that grows with the account. The plan of each statement is checked."""

import psycopg

from tests import plans
from tests.plans import Plans
from worker.config.settings import Settings
from worker.web.console import pages

# The ids are those of `plans.fill`.
PATHS = {"/inbox/{id}": "event_7", "/users/{id}": "user_7", "/objects/{id}": "subscription_7"}
QUERIES = {
    "/inbox": (
        {"status": "parked"},
        {"type": "payout.*", "error": "refused"},
        {"object": "object_7"},
        {"account": "acct_1", "before": "2015-01-01T00:00:00+00:00", "before_id": "event_7"},
    ),
    "/users": ({"q": "user_7@example.com"}, {"after": "user_7"}),
    "/objects": ({"id": "event_7"}, {"id": "customer_7"}),
    "/catalogue/plan": ({"after": "user_7"},),
}


def test_no_page_scans_a_whole_growing_table(database: str, settings: Settings) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        plans.fill(conn)
    seen, shown = Plans(database), set[str]()

    with seen.connect() as conn:
        for path, build in pages.PAGES.items():
            for query in ({}, *QUERIES.get(path, ())):
                if build(pages.PageRequest(conn, settings, query, {"id": PATHS.get(path, "")})) is not None:
                    shown.add(path)

    assert "\n\n".join(seen.faults.values()) == ""
    assert shown == set(pages.PAGES)
    assert len(seen.seen) > 60
