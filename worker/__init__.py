"""The daemon. `docs/architecture.md` draws its rooms: inbox, mirror and membership are the three floors."""
