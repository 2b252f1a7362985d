"""Objectives held against their own definition."""
