"""The inbox, `sync.events`. Each event is stored once, leased in batches, and removed after the retention time."""
