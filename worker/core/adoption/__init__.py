"""What an existing database has of the tables we need, and what is to be added. Pure: no database is asked here."""
