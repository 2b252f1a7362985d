"""benchbed."""
