"""Running compiled kernels: loading, caching, threads and buffers."""
