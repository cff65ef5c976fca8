"""Compare an existing database with the tables we need. Pure: these modules read no database."""
