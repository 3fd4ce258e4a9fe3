"""Drone pipelines: reading, planning, running."""
