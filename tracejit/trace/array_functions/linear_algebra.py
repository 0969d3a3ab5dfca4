"""NumPy's linear algebra, called in the graph where shape and dtype of the result are known beforehand."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import Shape
from tracejit.ops import linear_algebra as library
from tracejit.trace.array_functions.creation import full_node
from tracejit.trace.array_functions.products import matmul
from tracejit.trace.array_functions.shapes import expand_dims, swapaxes
from tracejit.trace.dispatch import asarray, copy, implements
from tracejit.trace.handlers import inside_try
from tracejit.trace.number import wrap
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.record import broadcast_shapes
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def _computed_in(*operands: Tracer, kinds: str = "biuf") -> np.dtype[Any] | None:
    """The dtype that LAPACK is called in; None where a call has to wait for its values, or NumPy refuses.

    A call inside a `try` is made at once, so that what it raises is raised there.  kinds: complex ones are among them
    where the result is of the same kind; they have no derivatives.
    """
    dtypes = [operand.dtype for operand in operands]
    if any(dtype.kind not in kinds or dtype == np.float16 for dtype in dtypes) or inside_try():
        return None
    is_complex = any(dtype.kind == "c" for dtype in dtypes)
    if is_complex and current().variables:
        return None
    single = all(dtype in (np.float32, np.complex64) for dtype in dtypes)
    return np.dtype("f" if single else "d") if not is_complex else np.dtype("F" if single else "D")


def _is_square(tracer: Tracer) -> bool:
    return tracer.ndim >= 2 and current().equal(tracer.symbolic_shape[-1], tracer.symbolic_shape[-2])


def _fewer(tracer: Tracer) -> Any:
    """The smaller of the last two lengths."""
    rows, columns = tracer.symbolic_shape[-2:]
    return columns if current().less(columns, rows) else rows


def _matrix_call(
    function: Any, shape: Callable[[Tracer], Shape], square: bool = True, plain: Any = None, kinds: str = "biuf"
) -> Callable[..., Any]:
    """A function of one matrix (or a stack), whose result has a shape that is known; `plain`: what to call else."""

    def call(a: Any, **options: Any) -> Any:
        tracer = asarray(a)
        dtype = _computed_in(tracer, kinds=kinds)
        if dtype is None or tracer.ndim < 2 or (square and not _is_square(tracer)):
            return interrupt_call(plain or function, (a,), options)
        found = shape(tracer)
        return call_node(function, (tracer,), options, found, dtype, scalar=not found)

    return call


def _stack(tracer: Tracer) -> Shape:
    return tracer.symbolic_shape[:-2]


def _matrices(tracer: Tracer) -> Shape:
    return tracer.symbolic_shape


for _function in (np.linalg.inv, np.linalg.cholesky):
    implements(_function)(_matrix_call(_function, _matrices, kinds="biufc"))
for _function in (library.inverse_or_nan, library.cofactors):
    implements(_function)(_matrix_call(_function, _matrices))
implements(np.linalg.det)(_matrix_call(np.linalg.det, _stack, kinds="biufc"))
_pinv = _matrix_call(np.linalg.pinv, lambda t: (*_stack(t), t.symbolic_shape[-1], t.symbolic_shape[-2]), square=False)


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    limits = {key: value for key, value in (("rcond", rcond), ("rtol", rtol)) if value not in (None, np._NoValue)}
    return interrupt_call(np.linalg.pinv, (a,), {**limits, "hermitian": True}) if hermitian else _pinv(a, **limits)


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """NumPy takes b for a vector only where it has one axis."""
    matrix, right = asarray(a), asarray(b)
    trace, dtype = current(), _computed_in(matrix, right, kinds="biufc")
    fits = dtype is not None and _is_square(matrix) and right.ndim > 0
    if not fits or not trace.equal(matrix.symbolic_shape[-1], right.symbolic_shape[-1 if right.ndim == 1 else -2]):
        return interrupt_call(np.linalg.solve, (a, b), {})
    columns = expand_dims(right, -1) if right.ndim == 1 else right
    stack = broadcast_shapes(trace, _stack(matrix), _stack(columns))
    result = call_node(np.linalg.solve, (matrix, columns), {}, (*stack, *columns.symbolic_shape[-2:]), dtype)
    return result[..., 0] if right.ndim == 1 else result


def _identity_like(tracer: Tracer) -> Any:
    return np.tril(np.triu(full_node(tracer.shape, 1, tracer.dtype)))


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    """By repeated squares, in NumPy's order."""
    tracer, power = asarray(a), operator.index(n)
    if tracer.dtype.kind not in "biuf" or not _is_square(tracer):
        return interrupt_call(np.linalg.matrix_power, (a, n), {})
    if power == 0:
        return _identity_like(tracer)
    base, power = (np.linalg.inv(tracer), -power) if power < 0 else (tracer, power)
    if power == 1:
        return copy(asarray(base))
    if power == 3:
        return matmul(matmul(base, base), base)
    result, square = None, None
    while power:
        square = base if square is None else matmul(square, square)
        power, bit = divmod(power, 2)
        if bit:
            result = square if result is None else matmul(result, square)
    return result


# ---- several results


def _results(packed: Any, *shapes: Shape) -> list[Tracer]:
    """The parts of a packed result, as arrays of their own (NumPy scalars where they have no axes)."""
    shown = [tuple(wrap(current(), dimension) for dimension in shape) for shape in shapes]
    parts = [asarray(part) for part in library.unpacked(packed, *shown)]
    for part in parts:
        part.scalar = not part.ndim
    return parts


@implements(library.slogdet)
def packed_slogdet(a: Any) -> Any:
    return _matrix_call(library.slogdet, lambda t: (*_stack(t), 2))(a)


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    tracer = asarray(a)
    if _computed_in(tracer) is None or not _is_square(tracer):
        return interrupt_call(np.linalg.slogdet, (a,), {})
    return _SLOGDET(*_results(packed_slogdet(tracer), (), ()))


_SLOGDET, _EIGH, _SVD, _QR = (
    cast(Callable[..., Any], type(function(np.eye(1))))
    for function in (np.linalg.slogdet, np.linalg.eigh, np.linalg.svd, np.linalg.qr)
)
"""NumPy's named tuples of results."""


@implements(library.eigh)
def packed_eigh(a: Any, UPLO: str = "L") -> Any:
    def shape(tracer: Tracer) -> Shape:
        n = tracer.symbolic_shape[-1]
        return (*_stack(tracer), sizes.add(n, sizes.multiply(n, n)))

    return _matrix_call(library.eigh, shape)(a, UPLO=UPLO)


def _triangle_read(UPLO: Any) -> str:
    side = str(UPLO).upper()
    if side not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return side


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    tracer = asarray(a)
    if _computed_in(tracer) is None or not _is_square(tracer):
        return interrupt_call(np.linalg.eigh, (a, UPLO), {})
    n = tracer.symbolic_shape[-1]
    return _EIGH(*_results(packed_eigh(tracer, _triangle_read(UPLO)), (n,), (n, n)))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return _matrix_call(np.linalg.eigvalsh, lambda t: t.symbolic_shape[:-1])(a, UPLO=_triangle_read(UPLO))


def _svd_shapes(tracer: Tracer, full_matrices: bool) -> tuple[Shape, Shape, Shape]:
    (rows, columns), few = tracer.symbolic_shape[-2:], _fewer(tracer)
    return ((rows, rows), (few,), (columns, columns)) if full_matrices else ((rows, few), (few,), (few, columns))


@implements(library.svd)
def packed_svd(a: Any, full_matrices: bool = True) -> Any:
    def shape(tracer: Tracer) -> Shape:
        u, s, vh = map(sizes.product, _svd_shapes(tracer, full_matrices))
        return (*_stack(tracer), sizes.add(sizes.add(u, s), vh))

    return _matrix_call(library.svd, shape, square=False)(a, full_matrices=full_matrices)


@implements(np.linalg.svdvals)
def svdvals(x: Any) -> Any:
    return _matrix_call(np.linalg.svdvals, lambda t: (*_stack(t), _fewer(t)), square=False)(x)


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    tracer = asarray(a)
    if hermitian or _computed_in(tracer) is None or tracer.ndim < 2:
        return interrupt_call(np.linalg.svd, (a, full_matrices, compute_uv, hermitian), {})
    if not compute_uv:
        return svdvals(tracer)
    full = bool(full_matrices)
    return _SVD(*_results(packed_svd(tracer, full), *_svd_shapes(tracer, full)))


@implements(library.qr)
def packed_qr(a: Any) -> Any:
    def shape(tracer: Tracer) -> Shape:
        (rows, columns), few = tracer.symbolic_shape[-2:], _fewer(tracer)
        return (*_stack(tracer), sizes.add(sizes.multiply(rows, few), sizes.multiply(few, columns)))

    return _matrix_call(library.qr, shape, square=False)(a)


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    tracer = asarray(a)
    if mode not in ("reduced", "r") or _computed_in(tracer) is None or tracer.ndim < 2:
        return interrupt_call(np.linalg.qr, (a, mode), {})
    (rows, columns), few = tracer.symbolic_shape[-2:], _fewer(tracer)
    parts = _results(packed_qr(tracer), (rows, few), (few, columns))
    return parts[1] if mode == "r" else _QR(*parts)


@implements(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    return np.multiply(expand_dims(x1, -1), expand_dims(x2, -2))


implements(np.linalg.matrix_transpose)(lambda x, /: swapaxes(x, -1, -2))
implements(np.linalg.trace)(lambda x, /, *, offset=0, dtype=None: np.trace(x, offset, -2, -1, dtype))
implements(np.linalg.diagonal)(lambda x, /, *, offset=0: np.diagonal(x, offset, -2, -1))
