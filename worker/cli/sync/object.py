"""The work of `stripe-sync sync object`."""

from collections.abc import Sequence

from worker.cli import database
from worker.cli.differences import say_differences
from worker.cli.output import fail, say, say_json
from worker.config import settings as config
from worker.config.errors import SyncError
from worker.membership.compute import policy_of
from worker.observe import log
from worker.stripe_api.client import Stripe
from worker.writers import sync_object

_SENTENCES = {
    "corrected": "differed from the mirror, and was corrected",
    "confirmed": "equals the mirror",
    "deleted": "is deleted",
    "uncertain": "may have changed just now: a worker reads it again within seconds",
}


def run(ids: Sequence[str], *, type_: str | None, account: str, as_json: bool) -> None:
    """Read each object from Stripe, write it, and print what changed. An object that fails does not stop the others."""
    settings = config.load()
    log.configure(settings.model_copy(update={"log_level": "warning"}))
    stripe, failed, results = Stripe.from_settings(settings), list[str](), list[dict[str, object]]()
    with database.connect(settings, application="sync") as conn:
        for id_ in ids:
            try:
                synced = sync_object.sync_object(conn, stripe, policy_of(settings), id_, type_, account=account)
            except SyncError as error:
                failed.append(str(error))
                results.append({"id": id_, "error": str(error)})
                continue
            results.append(synced.as_dict())
            if not as_json:
                say(f"{synced.object} {synced.id} {_SENTENCES[synced.outcome]}.")
                say_differences(synced.differences)
    if as_json:
        say_json(results)
    if failed:
        fail("\n".join(failed))
