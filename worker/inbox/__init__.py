"""The inbox of events, `sync.events`: stored once, leased in batches, removed after the retention time."""
