"""tracejit: plain NumPy functions in, fused kernels out.

`jit` compiles a function; every op of the op table is here too as an eager function (`tracejit.sin(x)`).
"""

from typing import Any

from tracejit.driver import Jitted, disable_jit, jit
from tracejit.eager import NAMES, function
from tracejit.transform.gradients import grad, value_and_grad, vjp
from tracejit.runtime.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = ["Jitted", "disable_jit", "get_num_threads", "grad", "jit", "set_num_threads", "value_and_grad", "vjp"]


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return function(name)
    raise AttributeError(f"module 'tracejit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *NAMES])
