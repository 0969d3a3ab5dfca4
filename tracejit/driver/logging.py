"""Log levels by what they show, to standard error.

TRACEJIT_DEBUG=graph,code,retrace,plain,cache,verify,internals (or `all`) turns them on.

`internals` keeps tracejit's own frames in tracebacks; `verify` checks the graph after each pass.
"""

from __future__ import annotations

import os
import sys

CHANNELS = ("graph", "code", "retrace", "plain", "cache", "verify", "internals")


def enabled(channel: str) -> bool:
    wanted = os.environ.get("TRACEJIT_DEBUG", "")
    return bool(wanted) and (channel in wanted.split(",") or wanted == "all")


def log(channel: str, text: str) -> None:
    """Print one message of a channel, if it is on."""
    if enabled(channel):
        sys.stderr.write(f"[tracejit {channel}] {text}\n")
