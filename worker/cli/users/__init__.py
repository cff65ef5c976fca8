"""The commands about one user: override, link, setup-admin, why and erase."""
