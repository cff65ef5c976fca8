"""The console: web pages for operators and support staff, which show the daemon's data. See docs/console.md."""
