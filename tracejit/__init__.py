"""tracejit: plain NumPy functions in, fused kernels out.

`jit` compiles a function; every op of the op table is here too as an eager function (`tracejit.sin(x)`).
"""

from typing import Any

from tracejit.control import cond, fori_loop, map, scan, switch, while_loop  # noqa: A004 - see `map`
from tracejit.driver import Jitted, disable_jit, jit
from tracejit.eager import NAMES, Array, GradientTape, enable_grad, function, no_grad
from tracejit.runtime.threads import get_num_threads, set_num_threads
from tracejit.transform.check_grads import check_grads
from tracejit.transform.checkpoint import checkpoint, stop_gradient
from tracejit.transform.custom import custom_jvp, custom_vjp
from tracejit.transform.gradients import grad, jvp, linearize, value_and_grad, vjp
from tracejit.transform.jacobians import hessian, jacobian
from tracejit.transform.vmap import vmap

__version__ = "0.1.0"

__all__ = [
    "Array",
    "GradientTape",
    "Jitted",
    "check_grads",
    "checkpoint",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "disable_jit",
    "enable_grad",
    "fori_loop",
    "get_num_threads",
    "grad",
    "hessian",
    "jacobian",
    "jit",
    "jvp",
    "linearize",
    "map",
    "no_grad",
    "scan",
    "set_num_threads",
    "stop_gradient",
    "switch",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return function(name)
    raise AttributeError(f"module 'tracejit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *NAMES])
