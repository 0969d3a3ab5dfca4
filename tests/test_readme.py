"""The README's Python code runs as it stands, and its commands are those that CI runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"^```python[ \t]*(?P<tags>[^\n]*)\n(?P<code>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


def code_blocks() -> list[tuple[int, str, str]]:
    """(line, tags, code) of each ```python block; a block tagged `no-run` is only compiled."""
    text = README.read_text() if README.exists() else ""
    return [(text.count("\n", 0, m.start()) + 2, m["tags"], textwrap.dedent(m["code"])) for m in BLOCK.finditer(text)]


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks in order, in one namespace, as a reader would paste them into one file."""
    blocks = code_blocks()
    assert blocks, "README.md has no ```python block"
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    for line, tags, code in blocks:
        # Blank lines before the code make the line numbers of an error the README's own.
        compiled = compile("\n" * (line - 1) + code, str(README), "exec")
        if "no-run" not in tags:
            exec(compiled, namespace)


def test_commands_are_those_of_ci() -> None:
    text = README.read_text()
    assert "pip install . && python -m tracejit demo" in text
    assert "pip install '.[test]' && pytest" in text
    assert "pip install '.[test]' && pytest" in (ROOT / ".ci" / "run").read_text()
