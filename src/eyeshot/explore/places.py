"""Where in the text a message about a spec belongs."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["place"]

#: As the parsers say it: YAML's and JSON's before the message, TOML's after it.
BEFORE = re.compile(r"line (\d+), column (\d+): ")
AFTER = re.compile(r" \(at line (\d+), column (\d+)\)$")


def place(message: str, text: str, form: str) -> tuple[str, dict[str, Any]]:
    """The message without the spec's own name, and as far as known ``line``, ``column`` (from 1), ``layer``
    and ``at`` (offsets in UTF-16 units).

    A syntax error says its line and column; another message begins with the path of what it is about,
    ``layers.conv2.stride``, which the outline finds in the text.
    """
    if not message.startswith("spec: "):
        return message, {}  # about the input that was asked for
    message = message.removeprefix("spec: ")
    if found := BEFORE.match(message):
        return message[found.end() :], {"line": int(found[1]), "column": int(found[2])}
    if found := AFTER.search(message):
        return message[: found.start()], {"line": int(found[1]), "column": int(found[2])}
    from eyeshot.explore.outline import located

    return message, located(message, text, form)
