"""Running compiled kernels: loading, caching, threads and buffers.  Nothing here imports Numba."""
