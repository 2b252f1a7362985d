"""A spec file -> cells -> an executor -> the store."""
