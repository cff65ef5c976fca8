"""Postgres and nothing else: the inbox, the mirror, membership, and the connections to them.

Arrays are sent in binary, `%b::text[]`: psycopg's text form escapes each element in Python, which was measured at 207 us an
event's body against 1.
"""
