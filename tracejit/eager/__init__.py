"""Define-by-run: arrays with derivatives, tapes, and every op of the table as a function that runs at once."""

from tracejit.eager.array import Array
from tracejit.eager.functions import NAMES, function
from tracejit.eager.gradient_tape import GradientTape
from tracejit.eager.recording import enable_grad, no_grad

__all__ = ["NAMES", "Array", "GradientTape", "enable_grad", "function", "no_grad"]
