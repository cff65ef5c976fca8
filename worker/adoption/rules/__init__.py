"""Pure functions that compare an existing database with the tables we need. These modules read no database."""
