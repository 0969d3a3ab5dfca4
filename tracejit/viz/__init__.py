"""Seeing the training: event files for TensorBoard (extra `[viz]`)."""

from tracejit.viz.summary_writer import SummaryWriter
from tracejit.viz.tensorboard_callback import TensorBoard

__all__ = ["SummaryWriter", "TensorBoard"]
