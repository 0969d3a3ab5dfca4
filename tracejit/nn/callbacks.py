"""What `fit` calls as it goes: early stopping, checkpoints, learning curves, or a class of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tracejit.nn.sequential import Model


class Callback:
    """Override what is of interest; `model` is the model being fitted, `logs` the means of the epoch so far."""

    model: Model

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch; the first is 0."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """After a step."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After an epoch, validation included."""

    def on_train_end(self) -> None:
        """After the last epoch."""


class History(Callback):
    """Keeps the logs of each epoch; `fit` returns one.

    history: for each name the values, epoch by epoch.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class _Watching(Callback):
    """Compares one of the logs with its best value so far."""

    def __init__(self, monitor: str, mode: str) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max", not {mode!r}')
        self.monitor, self.sign = monitor, 1.0 if mode == "min" else -1.0
        self.best = np.inf

    def improves(self, logs: dict[str, float], least: float = 0.0) -> bool:
        """Whether the value is better than all before, by more than `least`."""
        if self.monitor not in logs:
            raise KeyError(f"{type(self).__name__} watches {self.monitor!r}, and there are {', '.join(logs)}")
        value = self.sign * logs[self.monitor]
        if not value < self.best - least:
            return False
        self.best = value
        return True


class EarlyStopping(_Watching):
    """Stops when the watched value has not improved for so many epochs.

    restore_best: give the model the weights of its best epoch when training ends.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        least: float = 0.0,
        mode: str = "min",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode)
        self.patience, self.least, self.restore_best = patience, least, restore_best
        self.waited = 0
        self.weights: dict[str, Any] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.improves(logs, self.least):
            self.waited = 0
            self.weights = self.model.state_dict() if self.restore_best else None
            return
        self.waited += 1
        self.model.stop_training = self.model.stop_training or self.waited >= self.patience

    def on_train_end(self) -> None:
        if self.weights is not None:
            self.model.load_state_dict(self.weights)


class ModelCheckpoint(_Watching):
    """Saves the weights after each epoch, or only after those that improve; `{epoch}` in the path is its number."""

    def __init__(self, path: str | Path, monitor: str = "val_loss", mode: str = "min", best_only: bool = False) -> None:
        super().__init__(monitor, mode)
        self.path, self.best_only = str(path), best_only

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not self.best_only or self.improves(logs):
            self.model.save_weights(self.path.format(epoch=epoch))
