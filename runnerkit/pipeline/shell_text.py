"""The simple commands of a shell text: enough to see which tools it calls. Pure.

Not a shell: variables stay as they are written, and what is too clever is taken word by word.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile

SEPARATORS = frozenset({"&&", "||", ";", ";;", "|", "|&", "&", "(", ")", "{", "}", "\n"})
KEYWORDS = frozenset({"if", "then", "elif", "else", "fi", "do", "done", "while", "until", "!"})
WRAPPERS = frozenset({"sudo", "exec", "time", "command", "nice", "env", "xvfb-run", "retry"})
SHELLS = frozenset({"sh", "bash", "ash", "dash", "/bin/sh", "/bin/bash"})
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One program with its arguments, and the variables set in front of it."""

    words: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()

    @property
    def program(self) -> str:
        """The program's name without its folder."""
        return self.words[0].rpartition("/")[2]

    def option(self, *names: str) -> str | None:
        """The value of the first `--name value` or `--name=value`; None without one."""
        return next(iter(self.options(*names)), None)

    def options(self, *names: str) -> tuple[str, ...]:
        """Every value given to an option of one of these names."""
        found = []
        for place, word in enumerate(self.words):
            if word in names and place + 1 < len(self.words):
                found.append(self.words[place + 1])
            found += [word[len(name) + 1 :] for name in names if word.startswith(f"{name}=")]
        return tuple(found)

    def has(self, *flags: str) -> bool:
        """Whether one of these flags stands among the arguments."""
        return any(word in flags for word in self.words[1:])


def commands_of(text: str) -> tuple[Command, ...]:
    """The commands that a shell runs for this text, in the order they are written."""
    found: list[Command] = []
    words: list[str] = []
    for token in [*_tokens(text), ";"]:
        if token in SEPARATORS:
            found += commands_in(words)
            words = []
        else:
            words.append(token)
    return tuple(found)


def commands_in(words: Sequence[str]) -> tuple[Command, ...]:
    """The commands of one argument vector: itself, or what it hands to `sh -c`."""
    command = _command(words)
    if command is None:
        return ()
    shell = command.program in SHELLS and len(command.words) > 2
    if shell and re.fullmatch(r"-[a-z]*c", command.words[1]):
        # Shorter than the text around it, so this ends.
        return commands_of(command.words[2])
    return (command,)


def _tokens(text: str) -> list[str]:
    joined = re.sub(r"\\\r?\n", " ", text)
    tokens: list[str] = []
    for line in re.split(r"\r?\n", joined):
        # A quotation that spans lines is rare and only makes the words of its lines separate.
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            tokens += list(lexer)
        except ValueError:
            tokens += line.split()
        tokens.append("\n")
    return tokens


def _command(words: Sequence[str]) -> Command | None:
    """What is left after keywords, wrappers and assignments in front."""
    env: list[tuple[str, str]] = []
    rest = list(words)
    while rest:
        if rest[0] in KEYWORDS:
            rest = rest[1:]
        elif rest[0] in WRAPPERS:
            rest = list(dropwhile(lambda word: word.startswith("-"), rest[1:]))
        elif ASSIGNMENT.fullmatch(rest[0]):
            name, _, value = rest[0].partition("=")
            env.append((name, value))
            rest = rest[1:]
        else:
            return Command(tuple(rest), tuple(env))
    return None
