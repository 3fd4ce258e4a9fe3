"""Docker daemons and the admin's own docker CLI."""
