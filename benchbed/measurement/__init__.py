"""Draws in, records out."""
