"""`python -m worker`: the same as `stripe-sync`."""

from worker.cli.main import main

main()
