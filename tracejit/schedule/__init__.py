"""Which ops share a kernel: Graph -> list of kernels and steps."""
