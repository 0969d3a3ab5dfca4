"""`python -m tracejit`: look at the kernels on disk, or see a demonstration."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tracejit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cache = commands.add_parser("cache", help="the kernels on disk")
    cache.add_argument("action", choices=("info", "clear"))
    commands.add_parser("demo", help="a photograph and a million options, compiled", add_help=False)
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.command == "demo":
        return int(importlib.import_module("tracejit.demo").main(rest))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return _cache(chosen.action)


def _cache(action: str) -> int:
    disk_cache = importlib.import_module("tracejit.runtime.disk_cache")
    disk = disk_cache.DiskCache()
    if action == "clear":
        print(f"deleted {disk.clear()} files")
        return 0
    info = disk.info()
    print(f"directory  {info.directory}")
    print(f"kernels    {info.kernels} in {info.objects} object files")
    print(f"size       {info.bytes / 2**20:.1f} MiB of {disk_cache.LIMIT / 2**20:.0f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
