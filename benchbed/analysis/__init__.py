"""Records in, numbers with intervals and verdicts out. Imports no torch."""
