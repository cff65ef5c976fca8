"""Facts about a libpq address: whether its hosts are this machine, and whether the connection is encrypted.

The defaults that libpq reads from the environment, such as PGHOST and PGSSLMODE, are taken into account.
"""

import ipaddress

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

# Modes that allow plain text: a server, or an attacker in the middle, can refuse encryption.
PLAIN = frozenset({"disable", "allow", "prefer"})


def is_local(url: str) -> bool:
    """Whether every host of the address is a loopback address or a Unix socket."""
    parameters = _parameters(url)
    if "service" in parameters and not parameters.get("host") and not parameters.get("hostaddr"):
        return False  # the service file names the host, and we do not read it
    hosts = parameters.get("hostaddr") or parameters.get("host") or ""
    return all(_is_this_machine(host) for host in hosts.split(","))


def sslmode(url: str) -> str:
    """The mode that libpq uses for the address if DATABASE_SSLMODE is not set."""
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
