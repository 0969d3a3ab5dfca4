"""`DataLoader`: batches of arrays, shuffled anew each epoch, made ahead of time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tracejit.random import fold_in, key, permutation


class DataLoader:
    """Iterate over it for the batches of one epoch: tuples of arrays, or arrays where one was given.

    arrays: of one length, or one tuple of such; rows of all of them go together.  A sequence of examples works too:
        `arrays[i]` gives a row, or a tuple of them.
    batch_size: rows of a batch; the last one has what is left, or is dropped under `drop_last`.
    shuffle: another order each epoch, decided by `seed` and the number of the epoch alone.
    prefetch: batches that a thread makes ahead; 0 makes each when it is asked for.

    >>> import numpy as np, tracejit as tj
    >>> loader = tj.data.DataLoader(np.arange(5), batch_size=2)
    >>> [batch.tolist() for batch in loader]
    [[0, 1], [2, 3], [4]]

    Raises ValueError for arrays of different lengths, and for none.
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        prefetch: int = 2,
    ) -> None:
        if len(arrays) == 1 and isinstance(arrays[0], tuple):
            arrays = arrays[0]
        if not arrays:
            raise ValueError("a DataLoader needs at least one array")
        if batch_size < 1 or prefetch < 0:
            raise ValueError(f"batch_size must be positive and prefetch not negative: {batch_size} and {prefetch}")
        lengths = {len(array) for array in arrays}
        if len(lengths) > 1:
            raise ValueError(f"the arrays have different lengths: {', '.join(str(len(array)) for array in arrays)}")
        self.arrays, (self.rows,) = arrays, lengths
        self.batch_size, self.shuffle, self.drop_last, self.prefetch = batch_size, shuffle, drop_last, prefetch
        self.epoch = 0
        self._key = key(seed)

    def __len__(self) -> int:
        """The number of batches."""
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = self._order()
        self.epoch += 1
        batches = (self._batch(order, number) for number in range(len(self)))
        return ahead(batches, self.prefetch) if self.prefetch else batches

    def _order(self) -> Any:
        """Row numbers of this epoch; None for the order that they have."""
        return permutation(fold_in(self._key, self.epoch), self.rows) if self.shuffle else None

    def _batch(self, order: Any, number: int) -> Any:
        span = slice(number * self.batch_size, (number + 1) * self.batch_size)
        rows = span if order is None else order[span]
        parts = tuple(self._rows(array, rows) for array in self.arrays)
        return parts if len(parts) > 1 else parts[0]

    def _rows(self, array: Any, rows: Any) -> Any:
        if isinstance(array, np.ndarray):
            return array[rows] if isinstance(rows, slice) else array.take(rows, 0)
        chosen = range(self.rows)[rows] if isinstance(rows, slice) else rows
        examples = [array[int(row)] for row in chosen]
        if isinstance(examples[0], tuple):
            return tuple(np.stack(part) for part in zip(*examples, strict=True))
        return np.stack(examples)


def ahead(items: Iterator[Any], count: int) -> Iterator[Any]:
    """The same items, up to `count` of them made ahead by a thread; its errors are raised here."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(count)
    stopped = threading.Event()

    def put(entry: tuple[str, Any]) -> None:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(("item", item))
                if stopped.is_set():
                    return
            put(("end", None))
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            put(("error", error))

    thread = threading.Thread(target=make, name="tracejit-loader", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = ready.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def train_test_split(*arrays: Any, share: float = 0.2, seed: int = 0) -> tuple[Sequence[Any], Sequence[Any]]:
    """(training arrays, test arrays): rows in random order, the given share of them for testing.

    >>> import numpy as np, tracejit as tj
    >>> (x, y), (x_test, y_test) = tj.data.train_test_split(np.arange(10), np.arange(10), share=0.3)
    >>> len(x), len(x_test), bool((x == y).all())
    (7, 3, True)
    """
    if not 0 < share < 1:
        raise ValueError(f"the share for testing is between 0 and 1, not {share}")
    rows = len(arrays[0])
    order = permutation(key(seed), rows)
    first = rows - max(1, round(rows * share))
    return [array[order[:first]] for array in arrays], [array[order[first:]] for array in arrays]
