"""Transformations of functions: derivatives and batching, over plain NumPy code."""
