"""What a libpq address says of the way to Postgres: whether it leaves this machine, and whether it is encrypted.

libpq's own defaults count, and with them PGHOST, PGSSLMODE and the rest of its environment.
"""

import ipaddress

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

# Modes in which a server, or whoever stands between, may answer in plain text.
PLAIN = frozenset({"disable", "allow", "prefer"})


def is_local(url: str) -> bool:
    """Whether every host of the address is this machine: loopback, or a Unix socket."""
    said = _parameters(url)
    if "service" in said and not said.get("host") and not said.get("hostaddr"):
        return False  # the service's file names the host: not for us to know
    hosts = said.get("hostaddr") or said.get("host") or ""
    return all(_is_this_machine(host) for host in hosts.split(","))


def sslmode(url: str) -> str:
    """The mode that libpq takes of the address, without a setting of ours."""
    return _parameters(url).get("sslmode", "prefer")


def _parameters(url: str) -> dict[str, str]:
    defaults = {option.keyword.decode(): option.val.decode() for option in pq.Conninfo.get_defaults() if option.val}
    return defaults | {name: str(value) for name, value in conninfo_to_dict(url).items()}


def _is_this_machine(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
