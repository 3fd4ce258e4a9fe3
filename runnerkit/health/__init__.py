"""Judging a host."""
