"""One method a file, each with its citation."""
