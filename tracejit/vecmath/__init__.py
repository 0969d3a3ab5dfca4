"""Scalar functions that a compiler can vectorize: one branch-free definition for every target."""
