"""How long builds take on a runner, beside the other ways to build."""
