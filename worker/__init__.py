"""The daemon. `docs/architecture.md` describes its three layers of data: inbox, mirror and membership."""
