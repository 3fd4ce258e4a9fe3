"""The rules, by what they are about; importing this package registers them all."""

from runnerkit.pipeline.rules import syntax

__all__ = ["syntax"]
