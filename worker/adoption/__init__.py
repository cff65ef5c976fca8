"""Take over a database that an application made."""
