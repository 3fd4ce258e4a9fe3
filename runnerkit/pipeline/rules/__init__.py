"""The rules, by what they are about; importing this package registers them all."""

from runnerkit.pipeline.rules import (
    builders,
    cache_mounts,
    cache_use,
    documents,
    images,
    layers,
    platforms,
    run_time,
    secrets,
    sockets,
    syntax,
)

__all__ = [
    "builders",
    "cache_mounts",
    "cache_use",
    "documents",
    "images",
    "layers",
    "platforms",
    "run_time",
    "secrets",
    "sockets",
    "syntax",
]
