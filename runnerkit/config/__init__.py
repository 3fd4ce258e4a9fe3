"""runnerkit.yml: its shape, its values, and the effective configuration of each host."""
