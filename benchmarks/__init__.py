"""How fast it is, measured against the limit of the machine: `./run bench`. See docs/performance.md."""
