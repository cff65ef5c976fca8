"""The console: pages that show what the daemon knows, for operators and support staff. `docs/console.md` is its manual."""
