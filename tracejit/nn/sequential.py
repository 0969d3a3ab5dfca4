"""`Model` and `Sequential`: the Keras way, `compile`, `fit`, `evaluate`, `predict`, over the same modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracejit import optim
from tracejit.data import DataLoader
from tracejit.data.weights_file import read_arrays, write_arrays
from tracejit.driver import Jitted
from tracejit.eager import no_grad
from tracejit.nn.callbacks import Callback, History
from tracejit.nn.dense import Dense, unbuilt
from tracejit.nn.layers import Linear, ModuleList
from tracejit.nn.module import Bound, Module, binding
from tracejit.nn.training import TrainStep

OPTIMIZERS = {
    "sgd": optim.SGD,
    "adagrad": optim.Adagrad,
    "rmsprop": optim.RMSProp,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "lion": optim.Lion,
}
"""The optimizers by the names that `compile` takes."""


class Model(Module):
    """A module that trains itself.

    >>> import numpy as np
    >>> from tracejit import nn
    >>> model = nn.Sequential([nn.Linear(2, 8, activation="tanh"), nn.Linear(8, 1)])
    >>> model.compile(optimizer="adam", loss="mse")
    >>> x = np.random.default_rng(0).random((64, 2), np.float32)
    >>> history = model.fit(x, x[:, :1] * x[:, 1:], epochs=2, verbose=False)
    >>> list(history.history)
    ['loss']
    """

    def __init__(self) -> None:
        super().__init__()
        vars(self).update(stop_training=False, _step=None, _predicting=None)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "stop_training":  # no call of the model depends on it
            vars(self)[name] = value
        else:
            super().__setattr__(name, value)

    def compile(self, optimizer: Any = "sgd", loss: Any = "mse", metrics: Sequence[Any] = ()) -> None:
        """Say how to train: names, or an Optimizer, a function (prediction, target) -> number, and such functions.

        Raises ValueError for a name that there is not.
        """
        if isinstance(optimizer, str):
            if optimizer.lower() not in OPTIMIZERS:
                raise ValueError(f"no optimizer is called {optimizer!r}; there are {', '.join(OPTIMIZERS)}")
            optimizer = OPTIMIZERS[optimizer.lower()]()
        vars(self)["_step"] = TrainStep(self, loss, optimizer, metrics)

    def build(self, inputs: Any) -> None:
        """Make the parameters of layers that learn from their input how many there are; a row of `inputs` is enough."""
        if not unbuilt(self):
            return
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        with no_grad():
            self(inputs[:1] if not isinstance(inputs, tuple) else tuple(part[:1] for part in inputs))
        for module, training in modes:
            module.training = training
        if vars(self)["_step"] is not None:
            self.step.refresh()

    @property
    def step(self) -> TrainStep:
        """The compiled training step.

        Raises RuntimeError before `compile`.
        """
        found = vars(self)["_step"]
        if found is None:
            raise RuntimeError("the model has no loss and no optimizer yet: call model.compile(optimizer, loss) first")
        return found  # type: ignore[no-any-return]

    @property
    def optimizer(self) -> optim.Optimizer:
        """The optimizer given to `compile`."""
        return self.step.optimizer

    @property
    def names(self) -> list[str]:
        """The names of what a step measures: the loss, then the metrics."""
        return ["loss", *(name for name, _ in self.step.metrics)]

    # ---- training

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        epochs: int = 1,
        validation_data: Any = None,
        validation_split: float = 0.0,
        callbacks: Iterable[Callback] = (),
        shuffle: bool = True,
        verbose: bool = True,
        seed: int = 0,
    ) -> History:
        """Train for some epochs; the History has the means of each.

        x, y: arrays of one length; or x an iterable of (inputs, targets) batches, and y left out.
        validation_data: (x, y), or an iterable of batches; validation_split: the share of the rows, from the end,
        that is kept for it.
        verbose: a progress bar (with tqdm, extra `[nn]`).

        Raises ValueError for arrays that do not fit together, RuntimeError before `compile`.
        """
        step, history = self.step, History()
        if validation_split:
            x, y, validation_data = _kept_back(x, y, validation_split, validation_data)
        batches = _batches(x, y, batch_size, shuffle, seed)
        chosen = [history, *callbacks]
        for callback in chosen:
            callback.model = self
            callback.on_train_begin()
        self.stop_training = False
        for epoch in range(epochs):
            for callback in chosen:
                callback.on_epoch_begin(epoch)
            logs = self._epoch(step, batches, chosen, f"{epoch + 1}/{epochs}" if verbose else "")
            if validation_data is not None:
                logs |= {f"val_{name}": value for name, value in self._measured(validation_data, batch_size).items()}
            for callback in chosen:
                callback.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        for callback in chosen:
            callback.on_train_end()
        return history

    def _epoch(
        self, step: TrainStep, batches: Iterable[Any], callbacks: Sequence[Callback], label: str
    ) -> dict[str, float]:
        """All batches once; the means over the rows."""
        names, means, listeners = self.names, _Means(), [c for c in callbacks if _listens(c)]
        bar = _progress(batches, label) if label else None
        for number, (inputs, targets) in enumerate(batches if bar is None else bar):
            if number == 0:
                self.build(inputs)
            means.add(step(inputs, targets), len(targets))
            if bar is not None and number % 16 == 0:
                bar.set_postfix(means.named(names), refresh=False)
            for callback in listeners:
                callback.on_batch_end(number, means.named(names))
        if bar is not None:
            bar.set_postfix(means.named(names))
            bar.close()
        return means.named(names)

    def train_on_batch(self, x: Any, y: Any) -> Any:
        """One step; the loss, or the list of loss and metrics where there are metrics."""
        self.build(_array(x))
        found = [float(value) for value in self.step(_array(x), _array(y))]
        return found if len(found) > 1 else found[0]

    # ---- using

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 256, verbose: bool = False) -> dict[str, float]:
        """The means of loss and metrics over data, by name; printed too where `verbose` is on."""
        found = self._measured((x, y) if y is not None else x, batch_size)
        if verbose:
            print(", ".join(f"{name} {value:.6g}" for name, value in found.items()))  # noqa: T201 - what it is for
        return found

    def _measured(self, data: Any, batch_size: int) -> dict[str, float]:
        means = _Means()
        x, y = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
        for inputs, targets in _batches(x, y, batch_size, False, 0):
            self.build(inputs)
            means.add(self.step.evaluate(inputs, targets), len(targets))
        return means.named(self.names)

    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """The model's results for all rows, out of the mode of training."""
        self.build(_array(x))
        if vars(self)["_predicting"] is None:
            vars(self)["_predicting"] = Jitted(_predicting(self), (), fullgraph=False, fastmath=False)
        self.eval()
        values = [parameter.memory for parameter in self._state().values()]
        function, rows = vars(self)["_predicting"], _array(x)
        return np.concatenate([function(rows[n : n + batch_size], values) for n in range(0, len(rows), batch_size)])

    # ---- weights

    def save_weights(self, path: str | Path) -> None:
        """Write all parameters and buffers to a safetensors file."""
        write_arrays(path, self.state_dict())

    def load_weights(self, path: str | Path, strict: bool = True) -> None:
        """Read them back; see `load_state_dict`."""
        self.load_state_dict(read_arrays(path), strict)

    def save_training(self, path: str | Path) -> None:
        """Write all that decides how training goes on: weights, optimizer, steps done, random state."""
        write_arrays(path, self.step.state_dict())

    def load_training(self, path: str | Path) -> None:
        """Go on exactly from where `save_training` was called."""
        self.step.load_state_dict(read_arrays(path))

    def summary(self, show: bool = True) -> str:
        """A table of the layers and their parameters, printed unless `show` is off.

        Raises RuntimeError while some layer does not know how many inputs it has.
        """
        if unbuilt(self):
            raise RuntimeError(
                "the model has layers without parameters yet: give the first one input_dim, or fit first"
            )
        rows = [("layer", "type", "parameters")]
        for name, module in self.named_modules():
            own = [p for p in vars(module)["_parameters"].values() if p.trainable]
            if name and (own or not list(module.children())):
                rows.append((name, type(module).__name__, f"{sum(p.memory.size for p in own):,}"))
        total = sum(parameter.memory.size for parameter in self.parameters())
        free = sum(parameter.memory.size for parameter in self.parameters() if parameter.requires_grad)
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        lines.insert(1, "-" * len(lines[0]))
        text = "\n".join([*lines, lines[1], f"{total:,} parameters, {free:,} of them trained"])
        if show:
            print(text)  # noqa: T201 - that is what it is for
        return text


class Sequential(Model):
    """Modules one after the other.

    >>> from tracejit import nn
    >>> model = nn.Sequential()
    >>> model.add(nn.Linear(4, 3, activation="sigmoid"))
    >>> model.add(nn.Linear(3, 1, activation="sigmoid"))
    >>> len(model)
    2
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        given = modules[0] if len(modules) == 1 and isinstance(modules[0], list | tuple) else modules
        self.layers = ModuleList(given)
        self._build_known()

    def add(self, module: Module) -> None:
        """One more at the end; its parameters are made if the layers before tell how many inputs it has."""
        self.layers.append(module)
        self._build_known()

    def _build_known(self) -> None:
        """Make the parameters that follow from the first layer's inputs."""
        first = next(iter(self.layers), None)
        if isinstance(first, Linear) and first.inputs and unbuilt(self):
            self.build(np.zeros((1, first.inputs), first.dtype if isinstance(first, Dense) else np.float32))

    def forward(self, x: Any) -> Any:
        for module in self.layers:
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, position: int) -> Module:
        return self.layers[position]


class _Means:
    """Means over rows of what steps return; the sums are Python floats."""

    def __init__(self) -> None:
        self.sums: list[float] = []
        self.rows = 0

    def add(self, values: Sequence[Any], rows: int) -> None:
        """Take in the values of a batch."""
        weighted = [float(value) * rows for value in values]
        self.sums = [a + b for a, b in zip(self.sums, weighted, strict=True)] if self.sums else weighted
        self.rows += rows

    def named(self, names: Sequence[str]) -> dict[str, float]:
        """The means so far."""
        return {name: total / self.rows for name, total in zip(names, self.sums, strict=False)}


def _predicting(model: Model) -> Any:
    parameters = list(model._state().values())

    def predict(x: Any, values: Any) -> Any:
        with binding(Bound(dict(zip(parameters, values, strict=True)))):
            return model(x)

    return predict


def _array(value: Any) -> Any:
    return value if isinstance(value, np.ndarray | tuple) else np.asarray(value)


def _batches(x: Any, y: Any, batch_size: int, shuffle: bool, seed: int) -> Iterable[Any]:
    """Batches of (inputs, targets) from arrays, or what gives such batches itself."""
    if y is None:
        if isinstance(x, np.ndarray):
            raise ValueError("targets are missing: give x and y, or an iterable of (inputs, targets)")
        return x  # type: ignore[no-any-return]
    return DataLoader(_array(x), _array(y), batch_size=batch_size, shuffle=shuffle, seed=seed, prefetch=0)


def _kept_back(x: Any, y: Any, share: float, given: Any) -> tuple[Any, Any, Any]:
    if y is None or given is not None or not 0 < share < 1:
        raise ValueError("validation_split is a share between 0 and 1 of arrays x and y, in place of validation_data")
    first = len(x) - max(1, round(len(x) * share))
    return x[:first], y[:first], (x[first:], y[first:])


def _listens(callback: Callback) -> bool:
    return type(callback).on_batch_end is not Callback.on_batch_end


def _progress(batches: Any, label: str) -> Any:
    try:
        import tqdm
    except ImportError:
        raise ImportError(
            "a progress bar needs the package tqdm: pip install 'tracejit[nn]', or pass verbose=False"
        ) from None
    return tqdm.tqdm(batches, desc=f"epoch {label}", leave=True)
