"""Collecting the facts of a host: reads, never changes."""
