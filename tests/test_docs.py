"""The docs are true: the op table is up to date, the errors page shows real messages, and named files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.ops import IN_OTHER_OPS, NOT_ON_A_GPU, table
from tracejit.ops import OPS
from tracejit.runtime.device_array import DEVICE_CALLS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ERROR = re.compile(
    r"^## (?P<title>[^\n]+)\n.*?```python\n(?P<code>.*?)```\n.*?```text\n(?P<message>.*?)```", re.MULTILINE | re.DOTALL
)
ERRORS = [(m["title"], m["code"], m["message"]) for m in ERROR.finditer((DOCS / "errors.md").read_text())]


def test_op_table_is_up_to_date() -> None:
    assert (DOCS / "ops.md").read_text() == table(), "run: python -m docs.ops > docs/ops.md"


def test_every_op_has_a_form_on_a_gpu_or_a_reason() -> None:
    """Of those that are calls: no name is on two lists, and none on neither."""
    calls = [op for op in OPS.values() if op.kind == "call"]
    known = {op.name for op in calls if {op.reference, getattr(op.reference, "in_place", None)} & set(DEVICE_CALLS)}
    listed = {*NOT_ON_A_GPU, *IN_OTHER_OPS}
    assert {op.name for op in calls} == known | listed
    assert not known & listed


def test_every_error_has_an_example() -> None:
    titles = re.findall(r"^## (.+)$", (DOCS / "errors.md").read_text(), re.M)
    assert titles == [title for title, _, _ in ERRORS]


@pytest.mark.parametrize(("title", "code", "message"), ERRORS, ids=[title for title, _, _ in ERRORS])
def test_error_message(title: str, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example on the page raises the message on the page, notes included."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # Graphviz's program is not to be found
    example = Path("example.py")
    example.write_text(code)
    with pytest.raises(Exception) as caught:
        exec(compile(code, "example.py", "exec"), {"__name__": "example"})
    error = caught.value
    shown = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
    assert " ".join(shown.split()) == " ".join(message.split())
    assert len(shown.splitlines()) <= 15


def test_named_files_exist() -> None:
    """Every path of the repository that the hand-written pages name is there."""
    for page in ("design.md", "errors.md"):
        for path in re.findall(r"`((?:tracejit|tests|docs|benchmarks|examples)/[\w/.]*)`", (DOCS / page).read_text()):
            assert (ROOT / path).exists(), f"docs/{page} names {path}"
