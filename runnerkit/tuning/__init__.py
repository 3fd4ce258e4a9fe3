"""What a host could be set to, from what was measured on it. Pure."""
