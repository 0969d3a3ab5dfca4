"""Conway's game of life on a torus, by np.roll and by slices."""

import numpy as np

from tests.programs import Program


def life_roll(board, steps):
    for _ in range(steps):
        neighbours = sum(
            np.roll(np.roll(board, i, axis=0), j, axis=1) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)
        )
        board = ((neighbours == 3) | ((board == 1) & (neighbours == 2))).astype(board.dtype)
    return board


def life_slices(board):
    n = (
        board[:-2, :-2] + board[:-2, 1:-1] + board[:-2, 2:] + board[1:-1, :-2]
        + board[1:-1, 2:] + board[2:, :-2] + board[2:, 1:-1] + board[2:, 2:]
    )  # fmt: skip
    birth = (n == 3) & (board[1:-1, 1:-1] == 0)
    survive = ((n == 2) | (n == 3)) & (board[1:-1, 1:-1] == 1)
    board[...] = 0
    board[1:-1, 1:-1][birth | survive] = 1
    return board


def make_arguments(rng, size):
    return rng.integers(0, 2, (size, size + 1), dtype=np.uint8), 3


def make_board(rng, size):
    return (rng.integers(0, 2, (size, size + 1)),)


PROGRAMS = [
    Program("life_roll", life_roll, make_arguments, (0.0, 0.0)),
    Program("life_slices", life_slices, make_board, (0.0, 0.0), mutates=True),
]
