"""tracejit: plain NumPy functions in, fused kernels out.

`jit` compiles a function; every op of the op table is here too as an eager function (`tracejit.sin(x)`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tracejit.driver import Jitted, disable_jit, jit
from tracejit.runtime.device import Device
from tracejit.runtime.devices import devices, memory_stats, set_memory_limit, synchronize
from tracejit.runtime.streams import Stream
from tracejit.runtime.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from tracejit import graph, nn, optim
    from tracejit.control import cond, fori_loop, map, scan, switch, while_loop
    from tracejit.eager import Array, GradientTape, capture, device_put, enable_grad, from_dlpack, no_grad
    from tracejit.transform.check_grads import check_grads
    from tracejit.transform.checkpoint import checkpoint, stop_gradient
    from tracejit.transform.custom import custom_jvp, custom_vjp
    from tracejit.transform.gradients import grad, jvp, linearize, value_and_grad, vjp
    from tracejit.transform.jacobians import hessian, jacobian
    from tracejit.transform.vmap import vmap

__version__ = "0.1.0"

__all__ = [
    "Array",
    "Device",
    "GradientTape",
    "Jitted",
    "Stream",
    "capture",
    "check_grads",
    "checkpoint",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "data",
    "device_put",
    "devices",
    "disable_jit",
    "enable_grad",
    "fori_loop",
    "from_dlpack",
    "get_num_threads",
    "grad",
    "graph",
    "hessian",
    "jacobian",
    "jit",
    "jvp",
    "linearize",
    "map",
    "memory_stats",
    "nn",
    "no_grad",
    "optim",
    "random",
    "scan",
    "set_memory_limit",
    "set_num_threads",
    "stop_gradient",
    "switch",
    "synchronize",
    "value_and_grad",
    "viz",
    "vjp",
    "vmap",
    "while_loop",
]


_HOMES = {
    "tracejit.control": ("cond", "fori_loop", "map", "scan", "switch", "while_loop"),
    "tracejit.eager": ("Array", "GradientTape", "capture", "device_put", "enable_grad", "from_dlpack", "no_grad"),
    "tracejit.transform.check_grads": ("check_grads",),
    "tracejit.transform.checkpoint": ("checkpoint", "stop_gradient"),
    "tracejit.transform.custom": ("custom_jvp", "custom_vjp"),
    "tracejit.transform.gradients": ("grad", "jvp", "linearize", "value_and_grad", "vjp"),
    "tracejit.transform.jacobians": ("hessian", "jacobian"),
    "tracejit.transform.vmap": ("vmap",),
}
"""What is loaded when it is first asked for, so that a process that only runs compiled functions starts fast."""

_HOME = {name: module for module, names in _HOMES.items() for name in names}


_PACKAGES = ("data", "graph", "nn", "optim", "random", "viz")
"""The packages of graph mode, models and training; loaded when first asked for, too."""


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        value = import_module(f"tracejit.{name}")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        functions = import_module("tracejit.eager.functions")
        if name not in functions.NAMES:
            raise AttributeError(f"module 'tracejit' has no attribute {name!r}")
        value = functions.function(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_PACKAGES, *import_module("tracejit.eager.functions").NAMES})
