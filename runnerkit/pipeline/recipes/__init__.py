"""What the templates of each language are filled with, told by the project's files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runnerkit.pipeline.detect import Listing
from runnerkit.pipeline.kinds import Language
from runnerkit.pipeline.recipes.filling import Filling
from runnerkit.pipeline.recipes.go import go
from runnerkit.pipeline.recipes.node import npm, pnpm, yarn
from runnerkit.pipeline.recipes.plain import apk, apt
from runnerkit.pipeline.recipes.python import pip, uv
from runnerkit.pipeline.recipes.rust import rust

__all__ = ["RECIPES", "Filling"]

RECIPES: Mapping[Language, Callable[[Listing], Filling]] = {
    Language.GO: go,
    Language.RUST: rust,
    Language.UV: uv,
    Language.PIP: pip,
    Language.PNPM: pnpm,
    Language.YARN: yarn,
    Language.NPM: npm,
    Language.APK: apk,
    Language.APT: apt,
}
