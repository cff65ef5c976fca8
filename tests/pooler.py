"""Run pgbouncer in transaction mode with few connections, so that a client's transactions run in different sessions."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.processes import eventually
from worker.dev.servers import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def pgbouncer(database: str, *, users: Sequence[str], size: int = 3) -> Iterator[str]:
    """Run pgbouncer, and yield a DSN that reaches the database through it. It is for the first user, and needs no password."""
    assert PROGRAM is not None
    server, port = conninfo_to_dict(database), free_port()
    way = " ".join(f"{name}='{server[name]}'" for name in ("host", "port", "password") if name in server)
    with tempfile.TemporaryDirectory(prefix="stripe-sync-pooler-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "users").write_text("".join(f'"{user}" ""\n' for user in users))
        (home / "ini").write_text(
            f"[databases]\n* = {way}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {home}/users\npool_mode = transaction\ndefault_pool_size = {size}\n"
            f"max_client_conn = 200\nserver_login_retry = 1\n"
        )
        with (home / "log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, str(home / "ini")], stdout=log, stderr=log, user=_somebody())
        dsn = make_conninfo(database, host="127.0.0.1", port=port, user=users[0])
        try:
            eventually(lambda: _answers(dsn) or process.poll() is not None)
            assert process.poll() is None, (home / "log").read_text()
            yield dsn
        finally:
            process.kill()
            process.wait()


def _answers(dsn: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(dsn, prepare_threshold=None).close()
        return True
    return False


def _somebody() -> int | None:
    """The account that runs pgbouncer if the tests run as root, because pgbouncer refuses to run as root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
