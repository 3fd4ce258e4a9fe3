"""The plan, and carrying it out."""
