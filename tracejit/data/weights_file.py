"""Named arrays in a file of the safetensors format, with a few words of text beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "weights are kept in safetensors files, and the package safetensors is not installed: "
            "pip install 'tracejit[nn]'"
        ) from None
    return safetensors


def write_arrays(path: str | Path, arrays: Mapping[str, Any], about: Mapping[str, str] | None = None) -> None:
    """Write arrays under their names; the file is there in full or not at all.

    about: text kept beside them, see `read_about`.
    """
    library, target = _library(), Path(path)
    packed = {name: np.array(array, order="C") for name, array in arrays.items()}
    data = library.numpy.save(packed, dict(about or {}) or None)
    draft = target.with_name(target.name + ".part")
    draft.write_bytes(data)
    draft.replace(target)


def read_arrays(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a file by name.

    Raises FileNotFoundError, and ValueError for a file that is damaged or of another format.
    """
    library, source = _library(), Path(path)
    if not source.exists():
        raise FileNotFoundError(f"there is no file of weights at {source}")
    try:
        loaded: dict[str, np.ndarray[Any, Any]] = library.numpy.load(source.read_bytes())
    except library.SafetensorError as error:
        raise ValueError(f"{source} is no file of weights in the safetensors format, or is damaged: {error}") from None
    return loaded


def read_about(path: str | Path) -> dict[str, str]:
    """The text that was written beside the arrays."""
    with _library().safe_open(str(path), framework="numpy") as file:
        return dict(file.metadata() or {})
