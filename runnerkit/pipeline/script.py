"""A step's commands as the script that the runner makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

# What the image's shell is started with; the script is in a variable, as in CI.
ENTRYPOINT = ("/bin/sh", "-c")
COMMAND = ('echo "$DRONE_SCRIPT" | /bin/sh',)


def shell_script(commands: Sequence[str]) -> str:
    """Stops at the first command that fails, and prints each before it runs.

    Backticks in a command also run while it is printed: so they do in CI
    (drone-runner-docker 1.8.4, engine/compiler/shell).
    """
    parts = ["\nunset DRONE_SCRIPT\nset -e\n"]
    for command in commands:
        shown = json.dumps(command, ensure_ascii=False).replace("$", "\\$")
        parts.append(f"\necho + {shown}\n{command}\n")
    return "".join(parts)
