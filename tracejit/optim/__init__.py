"""Optimizers: rules for one parameter, applied to all parameters in one compiled update."""

from tracejit.optim import schedules
from tracejit.optim.bound import BoundOptimizer
from tracejit.optim.first_order import SGD, Adagrad, Adam, AdamW, Lion, RMSProp
from tracejit.optim.lbfgs import LBFGS, Minimum
from tracejit.optim.optimizer import Optimizer, OptimizerState, clip_by_global_norm, clip_by_value, global_norm

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "BoundOptimizer",
    "Lion",
    "Minimum",
    "Optimizer",
    "OptimizerState",
    "RMSProp",
    "clip_by_global_norm",
    "clip_by_value",
    "global_norm",
    "schedules",
]
