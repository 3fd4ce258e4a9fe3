"""Stand-ins for the Drone server, the Docker runner and drone/git: see README.md."""
