"""Node: what npm, yarn or pnpm install in one layer, their downloads in a cache mount. Pure."""

from __future__ import annotations

import re

from runnerkit.pipeline.detect import Listing
from runnerkit.pipeline.recipes.filling import Filling, exec_form, table

VERSION = "22"
MAINS = ("server.js", "index.js", "main.js", "app.js", "src/index.js", "src/main.js")
COREPACK = (
    "# Node 25 and newer come without corepack.\n"
    "RUN --mount=type=cache,id=npm,target=/root/.npm \\\n"
    "    (command -v corepack || npm install --global corepack) && corepack enable\n"
)


def npm(listing: Listing) -> Filling:
    """A project of npm, with a lock or without."""
    locked = listing.has("package-lock.json")
    return _node(
        listing,
        "npm",
        lists=("package.json", "package-lock.json", ".npmrc"),
        cache="/root/.npm",
        install="npm ci" if locked else "npm install",
        tidy="npm prune --omit=dev",
    )


def yarn(listing: Listing) -> Filling:
    """A project of Yarn 1, or of the one after it, called berry."""
    manager = str(listing.package().get("packageManager") or "")
    if listing.has(".yarnrc.yml") or re.match(r"yarn@[2-9]", manager):
        return _yarn_berry(listing)
    install = "yarn install --frozen-lockfile"
    return _node(
        listing,
        "yarn",
        lists=("package.json", "yarn.lock", ".npmrc", ".yarnrc"),
        cache="/usr/local/share/.cache/yarn",
        install=install,
        tidy=f"{install} --production",
    )


def _yarn_berry(listing: Listing) -> Filling:
    settings = listing.text(".yarnrc.yml")
    linked = re.search(r"^nodeLinker: *['\"]?(node-modules|pnpm)", settings, re.MULTILINE)
    # The image's own Yarn hands over to one that the repository brings along.
    brought = re.search(r"^yarnPath:", settings, re.MULTILINE)
    corepack = "" if brought else COREPACK
    plug_and_play = (
        "# Programs run from packed packages, so these have to be in a layer, too: the mount only"
        " spares\n# downloads.\nENV YARN_ENABLE_GLOBAL_CACHE=false\n"
    )
    return _node(
        listing,
        "yarn",
        lists=("package.json", "yarn.lock", ".yarnrc.yml"),
        cache="/root/.yarn/berry/cache",
        cache_id="yarn-berry",
        install="yarn install --immutable",
        tidy="yarn workspaces focus --all --production",
        prepare=corepack if linked else corepack + plug_and_play,
        node=("node",) if linked else ("node", "-r", "./.pnp.cjs"),
    )


def pnpm(listing: Listing) -> Filling:
    """A project of pnpm."""
    return _node(
        listing,
        "pnpm",
        lists=("package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc"),
        cache="/pnpm/store",
        install="pnpm install --frozen-lockfile",
        # Otherwise it asks whether it may.
        tidy="CI=true pnpm prune --prod",
        prepare=f"{COREPACK}# pnpm keeps its store below this folder.\nENV PNPM_HOME=/pnpm\n",
    )


def _node(
    listing: Listing,
    manager: str,
    *,
    lists: tuple[str, ...],
    cache: str,
    install: str,
    tidy: str,
    cache_id: str = "",
    prepare: str = "",
    node: tuple[str, ...] = ("node",),
) -> Filling:
    package = listing.package()
    scripts = table(package, "scripts")
    asked = re.match(r"v?(\d+)", listing.text(".nvmrc").strip())
    main = package.get("main") or next((x for x in MAINS if listing.has(x)), "index.js")
    others = " -not -path './.yarn/*'" if manager == "yarn" else ""
    check = (
        f"find . -name '*.js' -not -path '*/node_modules/*'{others} -print0 |"
        " xargs -0 -r -n 1 node --check"
    )
    folder = "COPY .yarn .yarn\n" if manager == "yarn" and listing.has(".yarn") else ""
    values = {
        "image": f"node:{asked[1] if asked else VERSION}-slim",
        "id": cache_id or manager,
        "lists": f"COPY {' '.join(x for x in lists if listing.has(x))} ./\n{folder}",
        "cache": cache,
        "install": install,
        "prepare": prepare,
        "lint": f"{manager} run lint" if "lint" in scripts else check,
        "test": f"{manager} test" if "test" in scripts else f"{' '.join(node)} --test",
        "build": f"{manager} run build && {tidy}" if "build" in scripts else tidy,
        "run": exec_form(*node, str(main)),
        "ignored": "**/node_modules",
    }
    return Filling("node.Dockerfile", values)
