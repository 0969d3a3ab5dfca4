"""`Saver`: variables to a safetensors file and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracejit.data.weights_file import read_arrays, write_arrays
from tracejit.graph.errors import GraphError
from tracejit.graph.inputs import Variable, global_variables
from tracejit.graph.session import Session

RANDOM_STATE = "random_state"
"""The name in the file of the state of random numbers."""


class Saver:
    """Saves and restores the variables of a session.

    var_list: the variables, or a dict of them by the names in the file; all of the default graph if not given, and with
        them the state of the graph's random numbers, so that a restored session goes on as the saved one would have.
    The file is in the safetensors format (extra `[nn]`).
    """

    def __init__(self, var_list: Sequence[Variable] | dict[str, Variable] | None = None) -> None:
        chosen = global_variables() if var_list is None else var_list
        self.whole = var_list is None
        self.variables = dict(chosen) if isinstance(chosen, dict) else {v.name: v for v in chosen}
        if not self.variables:
            raise GraphError("a Saver of no variables: make it after the variables of its graph")

    def save(self, session: Session, path: str | Path, global_step: int | None = None) -> str:
        """Write the values; returns the path written, which ends in the step where one is given."""
        target = str(path) if global_step is None else f"{path}-{global_step}"
        arrays = {name: session.value(variable) for name, variable in self.variables.items()}
        if self.whole and (state := session.random_state) is not None:
            arrays[RANDOM_STATE] = state
        write_arrays(target, arrays)
        return target

    def restore(self, session: Session, path: str | Path) -> None:
        """Read the values into a session; every variable must be in the file, in its shape."""
        arrays = read_arrays(path)
        missing = [name for name in self.variables if name not in arrays]
        if missing:
            raise GraphError(f"{path} has no value for {', '.join(missing)}; it has {', '.join(sorted(arrays))}")
        for name, variable in self.variables.items():
            session.load(variable, arrays[name])
        if self.whole and RANDOM_STATE in arrays:
            session.random_state = arrays[RANDOM_STATE]

    def __repr__(self) -> str:
        names: Any = ", ".join(self.variables)
        return f"<Saver of {names}>"
