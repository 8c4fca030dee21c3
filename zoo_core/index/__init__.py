"""The catalogue on disk: one SQLite file for each repository, so that a question costs what its answers cost."""
