"""Settings, which are read from the environment once, at start."""
