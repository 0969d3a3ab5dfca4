"""NumPy kernels that people know from benchmark collections, written afresh from their definitions."""

from __future__ import annotations

from benchmarks.kernels import flows, linear_algebra, networks, physics, signals, single, solvers, statistics, stencils
from benchmarks.kernels.kernel import Kernel

_FAMILIES = (linear_algebra, solvers, statistics, stencils, signals, flows, physics, networks, single)

KERNELS: tuple[Kernel, ...] = tuple(kernel for family in _FAMILIES for kernel in family.KERNELS)
"""All of them."""
