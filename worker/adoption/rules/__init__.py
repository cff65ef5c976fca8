"""Compare an existing database with the tables we need. Pure: no database is asked here."""
