"""Kernels to Python text for numba.cuda: one source for PTX and for the simulator.

kernel.py            what a lowered kernel is and how it is called: the contract with the run time
names.py             the text as Python functions, with the names that it may use
device_functions.py  those of the names that are more than Python's operators
simulation.py        memory and device functions for a process that has no GPU
"""
