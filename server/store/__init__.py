"""What the server remembers: one SQLite database, one writer."""
