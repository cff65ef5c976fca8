"""Measure the daemon's speed against the limit of the machine: `./run bench`. See docs/performance.md."""
