"""The table of ops in docs/ops.md, derived from the op table: `python -m docs.ops > docs/ops.md`."""

from __future__ import annotations

import operator
from collections import defaultdict

import numpy as np

import tracejit.eager  # noqa: F401 - fills in DEVICE_CALLS
from tracejit.ops import OPS
from tracejit.runtime.device_array import DEVICE_CALLS
from tracejit.trace.dispatch import FUNCTIONS

DTYPES = {"b": "bool", "i": "signed", "u": "unsigned", "f": "float", "c": "complex"}

HEAD = """\
# Ops

Made from the op table by `python -m docs.ops > docs/ops.md`; do not edit.

Spelling: the NumPy or SciPy function that means the op inside a jitted function; the operators and array methods that
NumPy has for it work as well. Accuracy: *exact* is bit-equal to NumPy; *n ULP* is the largest error, for float64,
against the true result, in units in the last place. Reductions of integers are exact, and so are `max`, `min`, `any`
and `all`; sums of floats are at least as accurate as NumPy's pairwise sums, and products of floats are rounded in
another order than NumPy's; both are the same for any number of threads. Dtypes: those that the op's kernel computes in;
operands are first promoted as NumPy does (`np.exp` of integers computes in float64), and for other dtypes NumPy's own
function is called. Derivative: the partial derivatives by the operands x and y, in ops of the table (out is the
result); it is what `grad` and the others compute, and is differentiated again for higher orders.
"""

COMPOSITES = """\
## NumPy functions with a composite

These are written in terms of the ops above (`tracejit/trace/array_functions/`), so they fuse with what stands
around them. Some hold a call of NumPy inside (`sort`, `matmul`, ...), and some have a form only for the common options
and call NumPy for the rest.
"""

OTHERS = """\
## All other functions

They work too: NumPy's own function is called with the real arrays.

* Where the type of the result is known beforehand (a ufunc without a kernel), the call is a node of the graph, between
  two kernels.
* Otherwise (`np.unique`, `np.nonzero`, boolean masks, ...) the graph is split there: what was recorded runs, NumPy is
  called, and tracing goes on with its result as a new input. `fullgraph=True` makes this an error.
* What no graph can hold (a function that assigns globals or attributes, `ndarray.view`, generators, ...) makes the
  whole function run as plain NumPy; `explain` gives the reason.

`f.explain(*args)` lists every call of NumPy that a function makes.

"""

ON_A_GPU = """\
## On a GPU

NumPy does not reach arrays there. Every op that is no call has a kernel. Of the calls, and of all other functions,
these have a form, by kernels that are written out and compositions of them: NAMES.

These ops have none, and raise `NoDeviceForm`, which names the function and the line:

| op | why |
|---|---|
"""

BESIDES = """\
Besides them: arithmetic and sorts of complex numbers, which are moved and not computed with; `np.unique` along an axis;
`at` of other ufuncs; functions that are in neither list (`np.apply_along_axis`, ...); and functions that would run as
plain NumPy on the CPU. Functions whose result is as long as the data say (`x[mask]`, `np.nonzero`, `np.unique`,
`np.bincount`) wait for the GPU: the length is read back. Sorts are stable, whatever `kind` says.
"""

FACTORED = "an algorithm of LAPACK's, which is not written for one; move the matrix to the CPU"

NOT_ON_A_GPU = {
    **dict.fromkeys(("cholesky", "eigh", "eigvalsh", "pinv", "qr", "svd", "svdvals"), FACTORED),
    "inverse_or_nan": "it catches the error of a singular matrix, which is known only when values are read back",
    "mapped": "it calls a function of Python's on the host",
}
"""Ops that are calls of NumPy and have no form on a GPU."""

IN_OTHER_OPS = {
    **dict.fromkeys(("argmax", "argmin"), "reductions"),
    **dict.fromkeys(("dot", "einsum", "inner"), "products"),
    **dict.fromkeys(
        ("conv1d", "conv2d", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"), "products and windows"
    ),
    "call": "any function",
}
"""Ops that are traced as others on a GPU, or stand for many."""


def _is_public(function):
    return not (function.__module__ or "").startswith("tracejit.")


def _spelt(function):
    if function in (operator.getitem, operator.setitem):
        return "x[mask]" if function is operator.getitem else "x[places] = v"
    method = function if hasattr(function, "__self__") else getattr(function, "__wrapped__", None)
    owner = getattr(method, "__self__", None)
    return f"np.{owner.__name__}.{method.__name__}" if isinstance(owner, np.ufunc) else dotted(function)


def accuracy(op):
    if op.kind == "reduce":
        return "at least pairwise" if op.compensated else ""
    if op.kind != "elementwise":
        return ""
    return f"{op.ulp:g} ULP" if op.ulp else "exact"


def dtypes(op):
    if op.kind not in ("elementwise", "reduce"):
        return ""
    return (
        "all"
        if set(op.dtypes) == set(DTYPES)
        else "all real"
        if set(op.dtypes) == set(DTYPES) - {"c"}
        else ", ".join(DTYPES[kind] for kind in op.dtypes)
    )


def derivative(op):
    if op.derivative is not None:
        return ", ".join(f"`{text}`" for text in op.derivative)
    return "by a rule" if op.vjp is not None else ""


def dotted(function):
    module = getattr(function, "__module__", None) or "numpy"
    if module.startswith("tracejit."):
        return f"tj.{function.__name__}"
    return f"{module.replace('numpy', 'np', 1)}.{function.__name__}"


def table():
    """The page."""
    kinds = defaultdict(list)
    for op in OPS.values():
        kinds[op.kind].append(op)
    lines = [HEAD]
    for kind, ops in kinds.items():
        lines += [f"## {kind.capitalize()}", ""]
        lines += ["| op | spelling | dtypes | accuracy | meaning | derivative |", "|---|---|---|---|---|---|"]
        for op in ops:
            spellings = ", ".join(f"`{spelling.replace('numpy.', 'np.')}`" for spelling in op.spellings)
            cells = (f"`{op.name}`", spellings, dtypes(op), accuracy(op), op.doc.replace("|", "\\|"), derivative(op))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    names = sorted({dotted(function) for function in FUNCTIONS})
    lines += [COMPOSITES, ", ".join(f"`{name}`" for name in names), "", OTHERS]
    forms = sorted({_spelt(function) for function in DEVICE_CALLS if _is_public(function)})
    lines += [ON_A_GPU.replace("NAMES", ", ".join(f"`{name}`" for name in forms))[:-1]]
    lines += [f"| `{name}` | {why} |" for name, why in sorted(NOT_ON_A_GPU.items())]
    lines += ["", BESIDES[:-1], ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(), end="")
