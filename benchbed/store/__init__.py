"""Append-only results: one record file a cell, and its block arrays. Imports no torch."""

from benchbed.store.folder import Results

__all__ = ["Results"]
