"""The commands: wiring, questions and exit codes. Decisions live elsewhere."""
