"""What a host should look like, computed from the configuration. Pure."""
