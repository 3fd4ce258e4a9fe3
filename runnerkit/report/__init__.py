"""Plans, reports and files for people and programs."""
