"""What is true on a host, typed. Pure: parsers, no collection."""
