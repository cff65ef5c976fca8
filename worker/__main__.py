"""`python -m worker`: the same as `stripe-sync`."""

from worker.cli import main

main()
