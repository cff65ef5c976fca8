"""The guarded write, and all jobs that write to the mirror with it."""
