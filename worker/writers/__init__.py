"""Everything that writes the mirror: the guarded write, and the jobs that use it."""
