"""tracejit: plain NumPy functions in, fused kernels out."""

from tracejit.jit import Jitted, disable_jit, jit
from tracejit.runtime.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = ["Jitted", "disable_jit", "get_num_threads", "jit", "set_num_threads"]
