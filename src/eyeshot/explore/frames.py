"""Messages between the server and a worker: a JSON head and a body of bytes, each with its length before it."""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

__all__ = ["LENGTHS", "packed", "receive", "unpacked"]

LENGTHS = struct.Struct(">IQ")


def packed(head: dict[str, Any], body: bytes = b"") -> bytes:
    """A message, ready to be written."""
    text = json.dumps(head, allow_nan=False).encode("ascii")
    return LENGTHS.pack(len(text), len(body)) + text + body


def unpacked(head: bytes) -> dict[str, Any]:
    """The head of a message."""
    found: dict[str, Any] = json.loads(head)
    return found


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message of a blocking stream; None at its end."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_size, body_size = LENGTHS.unpack(lengths)
    head = stream.read(head_size)
    body = stream.read(body_size)
    if len(head) < head_size or len(body) < body_size:
        return None
    return unpacked(head), body
