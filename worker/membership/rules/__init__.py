"""Pure decisions about users: no clock, network, database, settings or log."""
