"""Linear algebra by LAPACK, through NumPy; all of it for stacks of matrices.

cholesky, eigh and eigvalsh read one triangle of their argument only, and so do their derivatives: the slope by an
element of the other triangle is zero.  Rules after M. B. Giles, An extended collection of matrix derivative results
(2008); for svd, J. Townsend, Differentiating the singular value decomposition (2016); for pinv, G. Golub and
V. Pereyra, The differentiation of pseudo-inverses (1973).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.ops.library import NoRule, library, overridable, stack_batch
from tracejit.ops.table import Op, elementwise, register
from tracejit.vecmath import language as sl


def turned(a: Any) -> Any:
    """Each matrix transposed."""
    return np.swapaxes(a, -1, -2)


def _diagonal(a: Any) -> Any:
    return np.diagonal(a, 0, -2, -1)


def _on_diagonal(values: Any, like: Any) -> Any:
    """Matrices like `like` with `values` on their diagonals."""
    return np.triu(np.tril(values[..., None, :] + np.zeros_like(like)))


def _summed_to(value: Any, like: Any) -> Any:
    """The sum over what broadcasting repeats of `like`."""
    value = np.sum(value, axis=tuple(range(value.ndim - like.ndim)))
    axes = tuple(axis for axis in range(like.ndim) if like.shape[axis] == 1)
    return np.sum(value, axis=axes, keepdims=True) if axes else value


# ---- several results as one array


def packed(results: Sequence[Any], axes: Sequence[int]) -> Any:
    """Results side by side on one axis; `axes` are how many axes of each belong to one matrix."""
    flat = []
    for result, rank in zip(results, axes, strict=True):
        shape = result.shape
        stack = len(shape) - rank
        flat.append(np.reshape(result, (*shape[:stack], math.prod(shape[stack:]))))
    return np.concatenate(flat, axis=-1)


def unpacked(array: Any, *shapes: tuple[Any, ...]) -> list[Any]:
    """The results again; `shapes` are those of one matrix's."""
    results, start = [], 0
    for shape in shapes:
        length = math.prod(shape)
        part = array[..., start : start + length]
        results.append(np.reshape(part, (*array.shape[:-1], *shape)))
        start = start + length
    return results


def _packing(function: Callable[..., Any], *axes: int) -> Callable[..., Any]:
    """A NumPy function of several results as one of a single, packed array."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return packed([np.asarray(result) for result in function(*args, **options)], axes)

    return overridable(call)


slogdet = _packing(np.linalg.slogdet, 0, 0)
eigh = _packing(np.linalg.eigh, 1, 2)
svd = _packing(np.linalg.svd, 2, 1, 2)
qr = _packing(np.linalg.qr, 2, 2)


# ---- inverses and determinants


@overridable
def inverse_or_nan(a: Any) -> Any:
    """The inverse, NaN where there is none."""
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return np.full_like(a, np.nan)
        return np.stack([inverse_or_nan(matrix) for matrix in a])


@overridable
def cofactors(a: Any) -> Any:
    """The derivative of the determinant by each element; of singular matrices too."""
    try:
        return turned(np.linalg.inv(a)) * np.linalg.det(a)[..., None, None]
    except np.linalg.LinAlgError:
        u, s, vh = np.linalg.svd(a)
        ones = np.ones_like(s[..., :1])
        before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
        after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
        return (u * (before * after * (np.linalg.det(u) * np.linalg.det(vh))[..., None])[..., None, :]) @ vh


def _inv_jvp(t: Any, out: Any, a: Any) -> Any:
    return -(out @ t @ out)


def _inv_vjp(g: Any, out: Any, a: Any) -> Any:
    return -(turned(out) @ g @ turned(out))


def _det_jvp(t: Any, out: Any, a: Any) -> Any:
    return np.sum(cofactors(a) * t, axis=(-2, -1))


def _det_vjp(g: Any, out: Any, a: Any) -> Any:
    return g[..., None, None] * cofactors(a)


def _cofactors_jvp(t: Any, out: Any, a: Any) -> Any:
    inverse = turned(np.linalg.inv(a))
    return np.sum(out * t, axis=(-2, -1), keepdims=True) * inverse - out @ turned(t) @ inverse


def _cofactors_vjp(g: Any, out: Any, a: Any) -> Any:
    inverse = turned(np.linalg.inv(a))
    return np.sum(g * inverse, axis=(-2, -1), keepdims=True) * out - inverse @ turned(g) @ out


def _slogdet_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    (t,), (a,) = tangents, node.inputs
    partial = rules.traced(_log_slope, by=node, like=a)
    return rules.traced(_logarithm_alone, rules.scale(t, partial), by=node, like=node)


def _slogdet_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    (a,) = node.inputs
    partial = rules.traced(_log_slope, by=node, like=a)
    return [rules.scale(rules.traced(_of_logarithm, cotangent, by=node, like=a), partial)]


def _log_slope(a: Any) -> Any:
    return turned(inverse_or_nan(a))


def _logarithm_alone(products: Any, a: Any) -> Any:
    total = np.sum(products, axis=(-2, -1))
    return np.stack([np.zeros_like(total), total], axis=-1)


def _of_logarithm(g: Any, a: Any) -> Any:
    return g[..., 1, None, None] + np.zeros_like(a)


library(np.linalg.inv, "Inverse matrix.", jvp=[_inv_jvp], vjp=[_inv_vjp], stacks=True)
library(inverse_or_nan, "Inverse matrix, NaN where there is none.", jvp=[_inv_jvp], vjp=[_inv_vjp], stacks=True)
library(np.linalg.det, "Determinant.", jvp=[_det_jvp], vjp=[_det_vjp], stacks=True)
library(cofactors, "Cofactors: the slopes of the determinant.", jvp=[_cofactors_jvp], vjp=[_cofactors_vjp], stacks=True)
register(
    Op(
        "slogdet",
        "call",
        ("numpy.linalg.slogdet",),
        slogdet,
        jvp=_slogdet_jvp,
        vjp=_slogdet_vjp,
        batch=stack_batch,
        doc="Sign and logarithm of the determinant, packed.",
    )
)


# ---- solutions


def _solve_matrix_jvp(t: Any, out: Any, a: Any, b: Any) -> Any:
    return -np.linalg.solve(a, t @ out)


def _solve_right_jvp(t: Any, out: Any, a: Any, b: Any) -> Any:
    return np.linalg.solve(a, t)


def _solve_matrix_vjp(g: Any, out: Any, a: Any, b: Any) -> Any:
    return _summed_to(-(np.linalg.solve(turned(a), g) @ turned(out)), a)


def _solve_right_vjp(g: Any, out: Any, a: Any, b: Any) -> Any:
    return _summed_to(np.linalg.solve(turned(a), g), b)


def _pinv_jvp(t: Any, out: Any, a: Any, **options: Any) -> Any:
    left, right, slope = turned(out) @ out, out @ turned(out), turned(t)
    return right @ (slope - slope @ a @ out) + (slope - out @ a @ slope) @ left - out @ t @ out


def _pinv_vjp(g: Any, out: Any, a: Any, **options: Any) -> Any:
    left, right, slope = turned(out) @ out, out @ turned(out), turned(g)
    return (slope - a @ out @ slope) @ right + left @ (slope - slope @ out @ a) - turned(out) @ g @ turned(out)


library(
    np.linalg.solve,
    "Solution of linear equations, for matrices of right-hand sides.",
    jvp=[_solve_matrix_jvp, _solve_right_jvp],
    vjp=[_solve_matrix_vjp, _solve_right_vjp],
    stacks=True,
)
library(np.linalg.pinv, "Pseudoinverse, of constant rank.", jvp=[_pinv_jvp], vjp=[_pinv_vjp], stacks=True)


# ---- symmetric matrices


def _symmetric(t: Any) -> Any:
    """What the lower triangle says of a symmetric matrix."""
    return np.tril(t) + turned(np.tril(t, -1))


def _lower(g: Any) -> Any:
    """The cotangent of the lower triangle from that of the whole matrix."""
    return np.tril(g) + np.tril(turned(g), -1)


def _halved(a: Any) -> Any:
    """The lower triangle with half of the diagonal."""
    return (np.tril(a) + np.tril(a, -1)) / 2


def _cholesky_jvp(t: Any, out: Any, a: Any, upper: bool = False) -> Any:
    if upper:
        return turned(_cholesky_jvp(turned(t), turned(out), a))
    inner = np.linalg.solve(out, turned(np.linalg.solve(out, _symmetric(t))))
    return out @ _halved(inner)


def _cholesky_vjp(g: Any, out: Any, a: Any, upper: bool = False) -> Any:
    if upper:
        return turned(_cholesky_vjp(turned(g), turned(out), a))
    inner = np.linalg.solve(turned(out), _halved(turned(out) @ g))
    return _lower(turned(np.linalg.solve(turned(out), turned(inner))))


def _gaps(values: Any) -> Any:
    """1 / (value j - value i), and 0 where they are equal."""
    gap = values[..., None, :] - values[..., :, None]
    same = gap == 0
    return np.where(same, 0, 1 / np.where(same, 1, gap))


def _eigenparts(out: Any, a: Any) -> list[Any]:
    n = a.shape[-1]
    return unpacked(out, (n,), (n, n))


def _eigh_jvp(t: Any, out: Any, a: Any, UPLO: str = "L") -> Any:
    values, vectors = _eigenparts(out, a)
    slope = turned(vectors) @ _symmetric(turned(t) if UPLO == "U" else t) @ vectors
    return packed([_diagonal(slope), vectors @ (_gaps(values) * slope)], (1, 2))


def _eigh_vjp(g: Any, out: Any, a: Any, UPLO: str = "L") -> Any:
    values, vectors = _eigenparts(out, a)
    by_values, by_vectors = _eigenparts(g, a)
    inner = _gaps(values) * (turned(vectors) @ by_vectors) + _on_diagonal(by_values, a)
    slope = _lower(vectors @ inner @ turned(vectors))
    return turned(slope) if UPLO == "U" else slope


def _eigvalsh_jvp(t: Any, out: Any, a: Any, UPLO: str = "L") -> Any:
    _, vectors = _eigenparts(eigh(a, UPLO=UPLO), a)
    return np.sum(vectors * (_symmetric(turned(t) if UPLO == "U" else t) @ vectors), axis=-2)


def _eigvalsh_vjp(g: Any, out: Any, a: Any, UPLO: str = "L") -> Any:
    _, vectors = _eigenparts(eigh(a, UPLO=UPLO), a)
    slope = _lower((vectors * g[..., None, :]) @ turned(vectors))
    return turned(slope) if UPLO == "U" else slope


library(
    np.linalg.cholesky, "Triangular factor of a positive matrix.", jvp=[_cholesky_jvp], vjp=[_cholesky_vjp], stacks=True
)
library(eigh, "Eigenvalues and vectors of a symmetric matrix, packed.", jvp=[_eigh_jvp], vjp=[_eigh_vjp], stacks=True)
library(np.linalg.eigvalsh, "Eigenvalues of a symmetric matrix.", jvp=[_eigvalsh_jvp], vjp=[_eigvalsh_vjp], stacks=True)


# ---- decompositions of any matrix


def _is_square(a: Any) -> bool:
    return bool(a.shape[-1] == a.shape[-2])


def _singular_parts(out: Any, a: Any, full_matrices: bool) -> list[Any]:
    rows, columns = a.shape[-2:]
    if full_matrices and not _is_square(a):
        raise NoRule(
            "the further vectors of a matrix that is not square are arbitrary; pass full_matrices=False, or "
            "compute_uv=False for the singular values alone"
        )
    few = rows if rows < columns else columns
    return unpacked(out, (rows, few), (few,), (few, columns))


def _reciprocal(values: Any) -> Any:
    zero = values == 0
    return np.where(zero, 0, 1 / np.where(zero, 1, values))


def _svd_jvp(t: Any, out: Any, a: Any, full_matrices: bool = True) -> Any:
    u, s, vh = _singular_parts(out, a, full_matrices)
    v, gaps, row = turned(vh), _gaps(s * s), s[..., None, :]
    slope = turned(u) @ t @ v
    du = u @ (gaps * (slope * row + s[..., :, None] * turned(slope)))
    dv = v @ (gaps * (s[..., :, None] * slope + turned(slope) * row))
    if not _is_square(a):
        inverse = _reciprocal(row)
        du = du + (t @ v - u @ slope) * inverse
        dv = dv + (turned(t) @ u - v @ turned(slope)) * inverse
    return packed([du, _diagonal(slope), turned(dv)], (2, 1, 2))


def _svd_vjp(g: Any, out: Any, a: Any, full_matrices: bool = True) -> Any:
    u, s, vh = _singular_parts(out, a, full_matrices)
    by_u, by_s, by_vh = _singular_parts(g, a, full_matrices)
    v, by_v, gaps, row = turned(vh), turned(by_vh), _gaps(s * s), s[..., None, :]
    inner_u, inner_v = turned(u) @ by_u, turned(v) @ by_v
    inner = (gaps * (inner_u - turned(inner_u))) * row + s[..., :, None] * (gaps * (inner_v - turned(inner_v)))
    slope = u @ (inner + _on_diagonal(by_s, inner)) @ vh
    if not _is_square(a):
        inverse = _reciprocal(row)
        slope = slope + ((by_u - u @ inner_u) * inverse) @ vh
        slope = slope + u @ turned((by_v - v @ inner_v) * inverse)
    return slope


def _vectors(a: Any) -> tuple[Any, Any]:
    u, _, vh = _singular_parts(svd(a, full_matrices=False), a, False)
    return u, vh


def _svdvals_jvp(t: Any, out: Any, a: Any) -> Any:
    u, vh = _vectors(a)
    return np.sum(u * (t @ turned(vh)), axis=-2)


def _svdvals_vjp(g: Any, out: Any, a: Any) -> Any:
    u, vh = _vectors(a)
    return (u * g[..., None, :]) @ vh


def _triangle_parts(out: Any, a: Any) -> list[Any]:
    rows, columns = a.shape[-2:]
    if rows < columns:
        raise NoRule("the matrix has more columns than rows; factorize its first columns, a square matrix, alone")
    return unpacked(out, (rows, columns), (columns, columns))


def _times_inverse(a: Any, r: Any) -> Any:
    return turned(np.linalg.solve(turned(r), turned(a)))


def _qr_jvp(t: Any, out: Any, a: Any) -> Any:
    q, r = _triangle_parts(out, a)
    scaled = _times_inverse(t, r)
    inner = turned(q) @ scaled
    rotation = np.tril(inner, -1)
    rotation = rotation - turned(rotation)
    return packed([q @ (rotation - inner) + scaled, (inner - rotation) @ r], (2, 2))


def _qr_vjp(g: Any, out: Any, a: Any) -> Any:
    q, r = _triangle_parts(out, a)
    by_q, by_r = _triangle_parts(g, a)
    by_r = np.triu(by_r)
    inner = np.tril(r @ turned(by_r) - turned(by_q) @ q)
    inner = inner + turned(np.tril(inner, -1))
    return _times_inverse(by_q + q @ inner, turned(r))


library(svd, "Singular value decomposition, packed.", jvp=[_svd_jvp], vjp=[_svd_vjp], stacks=True)
library(np.linalg.svdvals, "Singular values.", jvp=[_svdvals_jvp], vjp=[_svdvals_vjp], stacks=True)
library(qr, "Orthogonal and triangular factor, packed.", jvp=[_qr_jvp], vjp=[_qr_vjp], stacks=True)


# ---- norms

elementwise(
    "norm_root",
    sl.sqrt,
    "Square root of a sum of squares: as sqrt, but flat at 0, where a norm has its least value.",
    spellings=(),
    reference=np.sqrt,
    resolve=np.sqrt,
    cost=6,
    domain=(0.0, 100.0),
    derivative=("where(x == 0, 0, 0.5 / out)",),
)
