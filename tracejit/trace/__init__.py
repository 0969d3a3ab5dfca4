"""Tracing: running a plain NumPy function on tracers, which record what is done to them as a graph."""
