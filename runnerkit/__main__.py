"""`python -m runnerkit`."""

from runnerkit.cli import main

main()
