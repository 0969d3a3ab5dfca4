"""What a native call does, apart from any particular objects: the input of `call_entry`.

Objects and addresses are in the table of a call's context; a plan names them by slot.  So functions that differ only in
what they compute share one piece of code.  Arrays and numbers have the names that the host program has for them (`a0`,
`b1`), sizes and numbers are expressions of the host program.

Every first call makes a plan, so the classes are the kind that Python defines quickest; as tuples of different classes
can be equal, a plan is told from others by its `repr`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tracejit.lower.abi import Layout
from tracejit.lower.launch_cost import Term


class ArrayLeaf(NamedTuple):
    """An array argument.

    descriptor: slot of its dtype.  axes: the name of each dimension, "" for one of length one.
    flags: the bits to look at, and what they must be.  first, last: the byte stride that the axis must have, if any.
    """

    name: str
    descriptor: int
    itemsize: int
    axes: tuple[str, ...]
    flags: tuple[int, int]
    first: int | None = None
    last: int | None = None


class ScalarLeaf(NamedTuple):
    """A NumPy scalar or an array without dimensions; slots of its type and dtype."""

    name: str
    type: int
    descriptor: int
    aligned: int


class NumberLeaf(NamedTuple):
    """A Python number; kind: "int", "float" or "bool"."""

    name: str
    kind: str


class SameLeaf(NamedTuple):
    """The object of a slot, and no other."""

    slot: int


class Items(NamedTuple):
    """A tuple, a list or a dict (kind) of items; keys: slots of a dict's, in order."""

    kind: str
    items: tuple[Item, ...]
    keys: tuple[int, ...] = ()


Leaf: TypeAlias = ArrayLeaf | ScalarLeaf | NumberLeaf | SameLeaf
Item: TypeAlias = Leaf | Items


class Captured(NamedTuple):
    """An array that the function finds outside its arguments, by slot; axes as those of an ArrayLeaf."""

    name: str
    slot: int
    itemsize: int
    axes: tuple[str, ...]


class Outside(NamedTuple):
    """A guard on the surroundings: `key` of `owner` is still `value` (slots; kind "global", "cell" or "attribute")."""

    kind: str
    owner: int
    key: int
    value: int


class Allocation(NamedTuple):
    """New memory in C order.

    place: "object": an array of its own; "stack": a few elements in the call's frame; "room": a part of the memory that
    the call takes once, which others of the same number (`room`) and size have before and after.
    """

    name: str
    descriptor: int
    itemsize: int
    shape: tuple[str, ...]
    place: str = "object"
    room: int = 0


class Viewing(NamedTuple):
    """A view, which is no object.

    starts, steps: of each axis of the source; axes: the view's axis that goes along it, -1 for none.
    """

    name: str
    source: str
    starts: tuple[str, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...]
    shape: tuple[str, ...]


class Reshaping(NamedTuple):
    """Memory in C order, with another shape."""

    name: str
    source: str
    itemsize: int
    shape: tuple[str, ...]


class Copying(NamedTuple):
    """All elements from one memory in C order into another."""

    source: str
    target: str
    itemsize: int
    shape: tuple[str, ...]


class Factor(NamedTuple):
    """An operand of a product, or its result.

    batch, core: which of its axes goes along each axis of the batch, and along the two of the matrix; -1 for none.
    """

    name: str
    batch: tuple[int, ...]
    core: tuple[int, int]


class MatrixProduct(NamedTuple):
    """NumPy's own loop of np.matmul; function: slot of its address.

    batch: the lengths of the axes before those of the matrices.  core: rows, the length that is summed over, columns.
    """

    function: int
    left: Factor
    right: Factor
    target: Factor
    batch: tuple[str, ...]
    core: tuple[str, str, str]


class KernelCall(NamedTuple):
    """A kernel.

    main, final: slots of the addresses of its functions.  buffers: name of each operand that is passed, "" for one that
    holds partial results.  ranks: how many strides of each are passed.  scalars: expression and kind of dtype.
    work: nanoseconds it takes, by axes (see `launch_cost`).
    endless: nobody knows how long it takes.
    sharing: what a unit of work is (see `abi.units`): "each" value of the axis `first`, "tiles" of it, a "chunk" of
        the `reduced` axes, of which a native call does one, or a part of a product by "panels", whose axes are in
        `panels` (see `abi.panel_units`); `first` None: one unit.
    """

    layout: Layout
    main: int
    final: int | None
    buffers: tuple[str, ...]
    ranks: tuple[int, ...]
    extents: tuple[str, ...]
    integers: tuple[str, ...]
    scalars: tuple[tuple[str, str], ...]
    work: tuple[Term, ...]
    endless: bool
    sharing: str
    first: int | None
    reduced: tuple[int, ...]
    panels: tuple[tuple[int, ...], ...] = ()


class FreshArray(NamedTuple):
    """A result: an array that the call allocates."""

    name: str


class FreshScalar(NamedTuple):
    """A result: the NumPy scalar of an allocation of one element on the stack."""

    name: str
    descriptor: int


class FreshView(NamedTuple):
    """A result: an array object that looks at an array which the call allocates."""

    name: str
    base: str
    descriptor: int
    rank: int


class Constant(NamedTuple):
    """A result: the object of a slot."""

    slot: int


class Argument(NamedTuple):
    """A result: an argument itself."""

    name: str


class Packed(NamedTuple):
    """A result: a tuple, a list or a dict (kind); keys: slots of a dict's, in order."""

    kind: str
    items: tuple[Result, ...]
    keys: tuple[int, ...] = ()


Result: TypeAlias = FreshArray | FreshScalar | FreshView | Constant | Argument | Packed
Step: TypeAlias = Allocation | Viewing | Reshaping | Copying | KernelCall | MatrixProduct


class CallPlan(NamedTuple):
    """A whole call.

    keywords: slot of the name, and the argument, in order.  guards: what must be true.  apart: names of arrays that are
    written to, which must share no memory with any other, and of those that are not.
    borrowed: names of what stands in lists and dicts, which nobody holds while the GIL is let go.
    integers: the arrays of which elements are read as numbers, and the dtype of each ("i8").
    """

    positional: tuple[Item, ...]
    keywords: tuple[tuple[int, Item], ...]
    outside: tuple[Outside, ...]
    captured: tuple[Captured, ...]
    guards: tuple[str, ...]
    definitions: tuple[tuple[str, str], ...]
    apart: tuple[tuple[str, ...], tuple[str, ...]]
    steps: tuple[Step, ...]
    result: Result
    borrowed: tuple[str, ...]
    integers: tuple[tuple[str, str], ...] = ()
