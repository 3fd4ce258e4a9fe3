"""Debian root filesystems, built in layers from packages and kept in the cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from inspect import getsource
from pathlib import Path
from threading import Semaphore

from tests.lab import fetched_programs, machine
from tests.lab.cache import cache_dir, digest, entry
from tests.lab.layers import Layer, read_layer, write_layer
from tests.lab.shell import run, say

SCRIPTS = Path(__file__).parent / "scripts"
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
)


@dataclass(frozen=True)
class Recipe:
    """One layer: a Debian suite from nothing, or packages, commands and files on top of another."""

    name: str
    parent: Recipe | None = None
    suite: str = ""
    packages: tuple[str, ...] = ()
    download: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    wheels: tuple[str, ...] = ()
    """Programs of PyPI, `name==version`, for Debian's Python 3.13."""
    tarballs: tuple[str, ...] = ()
    """Programs of npm, `name@version`, without dependencies."""
    files: tuple[tuple[Path, str], ...] = ()
    """Files of this project and their absolute place, with mode 0755."""
    image: bool = True
    """Whether the layer is also wanted as a tar."""

    def key(self) -> str:
        """A digest of everything that decides what comes out."""
        parent = self.parent.key() if self.parent else [machine.mirror(), machine.apt_options()]
        files = [(place, path.read_bytes().hex()) for path, place in self.files]
        builders = [(SCRIPTS / "build-layer.sh").read_text()] if self.parent else DPKG_OPTIONS
        made_from = (self.suite, self.packages, self.download, self.before, self.after, self.image)
        fetched = [getsource(fetched_programs), self.wheels, self.tarballs] if self.fetches else []
        return digest(parent, files, builders, made_from, *fetched)

    @property
    def fetches(self) -> bool:
        """Whether anything comes from elsewhere than Debian."""
        return bool(self.wheels or self.tarballs)

    def chain(self) -> list[Recipe]:
        """The recipes from the suite up to this one."""
        return [*(self.parent.chain() if self.parent else []), self]


@dataclass
class Builder:
    """Builds each recipe once, parents first, as many at a time as there are processors."""

    _futures: dict[Recipe, Future[Path]] = field(default_factory=dict)
    # A thread for each recipe, as most wait for their parent; the semaphore bounds the work.
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(64))
    _working: Semaphore = field(default_factory=lambda: Semaphore(max(2, os.cpu_count() or 2)))

    def request(self, *recipes: Recipe) -> None:
        """Begin to build; what is wanted first is named first."""
        for recipe in recipes:
            if recipe in self._futures:
                continue
            if recipe.parent:
                self.request(recipe.parent)
            self._futures[recipe] = self._pool.submit(self._build, recipe)

    def place(self, recipe: Recipe) -> Path:
        """The cache entry of a recipe, once it is built."""
        self.request(recipe)
        return self._futures[recipe].result()

    def layers(self, recipe: Recipe) -> list[Layer]:
        """The layers of an image whose top is this recipe, lowest first."""
        return [read_layer(self.place(item)) for item in recipe.chain()]

    def lowerdir(self, recipe: Recipe) -> str:
        """What to give overlayfs as its lower directories."""
        return ":".join(str(self.place(item) / "tree") for item in reversed(recipe.chain()))

    def _build(self, recipe: Recipe) -> Path:
        lower = self.lowerdir(recipe.parent) if recipe.parent else ""

        def make(place: Path) -> None:
            with self._working:
                _make(recipe, lower, place)

        return entry(recipe.name, recipe.key(), make)


def _make(recipe: Recipe, lower: str, place: Path) -> None:
    say(f"building {recipe.name}")
    tree = place / "tree"
    if recipe.parent is None:
        _bootstrap(recipe, tree)
    elif recipe.packages or recipe.download or recipe.before or recipe.after:
        _install(recipe, lower, tree)
    else:
        tree.mkdir()
    for wheel in recipe.wheels:
        fetched_programs.wheel(wheel, tree)
    for tarball in recipe.tarballs:
        fetched_programs.tarball(tarball, tree)
    for source, target in recipe.files:
        path = tree / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        path.chmod(0o755)
    if recipe.image:
        write_layer(tree, place)
    say(f"built {recipe.name}")


def _bootstrap(recipe: Recipe, tree: Path) -> None:
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists"]
    argv += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    argv += [f"--aptopt={option.rstrip(';')}" for option in machine.apt_options()]
    argv += [f"--include={','.join(recipe.packages)}", recipe.suite, str(tree), machine.mirror()]
    run(argv)


def _install(recipe: Recipe, lower: str, tree: Path) -> None:
    tree.mkdir()
    with tempfile.TemporaryDirectory(prefix=".work-", dir=cache_dir()) as folder:
        work, merged = Path(folder) / "work", Path(folder) / "merged"
        work.mkdir()
        merged.mkdir()
        env = {
            "LOWER": lower,
            "UPPER": str(tree),
            "WORK": str(work),
            "MERGED": str(merged),
            "PACKAGES": " ".join(recipe.packages),
            "DOWNLOAD": " ".join(recipe.download),
            "BEFORE": recipe.before,
            "AFTER": recipe.after,
            "CA": str(machine.CA_BUNDLE),
        }
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        run([*namespaces, "sh", SCRIPTS / "build-layer.sh"], env=env)
