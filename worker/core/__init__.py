"""Pure decisions: no clock, network, database, settings or log."""
