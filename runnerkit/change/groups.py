"""What of a plan is done at once, and how that is called. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runnerkit.change.actions import Action, PreloadImage, PullImage, WriteFile


def grouped(actions: Iterable[Action]) -> list[list[Action]]:
    """What is done at once: the files of a generation, and pulls that follow each other.

    Files travel in one archive and land together; a plan names each changed one before the
    manifest, which carries them all.
    """
    groups: list[list[Action]] = []
    for action in actions:
        last = groups[-1][-1] if groups else None
        pulls = isinstance(action, PullImage | PreloadImage) and type(last) is type(action)
        if isinstance(last, WriteFile) or pulls:
            groups[-1].append(action)
        else:
            groups.append([action])
    return groups


def title_of(group: Sequence[Action]) -> str:
    """A group for who waits for it."""
    if isinstance(group[0], WriteFile) and len(group) > 1:
        return f"write {len(group)} files"
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"{group[0].title}{more}"


def told(group: Sequence[Action]) -> str:
    """A group for the history, with everything by its name."""
    names = [action.file.name for action in group if isinstance(action, WriteFile)]
    if names:
        return f"write {', '.join(names)}"
    return ", ".join(action.title for action in group)
