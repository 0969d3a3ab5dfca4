"""Define-by-run: arrays with derivatives, tapes, and every op of the table as a function that runs at once."""

from tracejit.eager import device_counting as _device_counting  # noqa: F401 - NumPy's functions on a GPU
from tracejit.eager import device_linear_algebra as _device_linear_algebra  # noqa: F401 - NumPy's functions on a GPU
from tracejit.eager import device_sets as _device_sets  # noqa: F401 - NumPy's functions on a GPU
from tracejit.eager.array import Array
from tracejit.eager.capture import capture
from tracejit.eager.exchange import device_put, from_dlpack
from tracejit.eager.functions import NAMES, function
from tracejit.eager.gradient_tape import GradientTape
from tracejit.eager.recording import enable_grad, no_grad

__all__ = [
    "NAMES",
    "Array",
    "GradientTape",
    "capture",
    "device_put",
    "enable_grad",
    "from_dlpack",
    "function",
    "no_grad",
]
