"""`stripe-sync`, the operators' command line.

A command's options and help live in the file named after its group: `status.py` and `events.py`, or `commands.py` in a
folder. These files import nothing heavy, so that `--help` answers at once; a command imports its work when it runs.
"""
