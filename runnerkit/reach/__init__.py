"""Getting to a host: one connection, programs on it, and streams through it."""
