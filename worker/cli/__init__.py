"""`stripe-sync`, the operators' command line.

A command's options and help are in the file of its group, such as `status.py`, or in `commands.py` of the group's folder.
These files import nothing heavy, so that `--help` is fast. A command imports its implementation when it runs.
"""
