"""A callback of `fit` that writes what TensorBoard shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracejit.nn.callbacks import Callback
from tracejit.viz.summary_writer import SummaryWriter


class TensorBoard(Callback):
    """Scalars of each epoch; histograms of the weights every `histogram_freq` epochs; the graph, given an example.

    example: an input of the model, as a batch.
    """

    def __init__(self, log_dir: str | Path = "logs", histogram_freq: int = 0, example: Any = None) -> None:
        self.log_dir, self.histogram_freq, self.example = log_dir, histogram_freq, example
        self.writer: SummaryWriter | None = None

    def on_train_begin(self) -> None:
        self.writer = SummaryWriter(self.log_dir)
        if self.example is not None:
            self.writer.add_graph(self.model, self.example)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        assert self.writer is not None
        for name, value in logs.items():
            kind, _, plain = name.rpartition("val_")
            self.writer.add_scalar(
                f"{plain}/{'validation' if kind or name.startswith('val_') else 'train'}", value, epoch
            )
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, parameter in self.model.named_parameters():
                self.writer.add_histogram(name.replace(".", "/"), parameter.memory, epoch)
        self.writer.flush()

    def on_train_end(self) -> None:
        if self.writer is not None:
            self.writer.close()
