"""What Python offers around the arithmetic: and/or/not, any/all, exceptions, generators, dicts, recursion, defaults."""

import numpy as np

from tests.dynamic_programs import DynamicProgram


def and_or_not(x, y):
    if x.sum() > 0 and not y.sum() > 0:
        return x - y
    if x.sum() > 0 or y.min() < -5:
        return x + y
    return x * y


def value_of_or(x):
    """`or` gives the operand, not its truth."""
    return (x - 1).sum() or x.max() or np.float64(7.0)


def any_and_all(x):
    rounds = 0
    while not all(x < 1) and any(v > 0 for v in x):
        x = x / 2
        rounds += 1
    return x, rounds


def chained_comparison(x):
    level = x.mean()
    return "low" if level < 0 else "middle" if 0 <= level < 10 else "high"


def asserts(x):
    assert x.min() >= 0, f"negative: {x.min()}"
    return np.sqrt(x)


def caught(x):
    try:
        if x.sum() < 0:
            raise ValueError("negative sum")
        return np.log1p(x)
    except ValueError as error:
        return str(error)
    finally:
        x = None


def caught_from_numpy(matrix):
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(matrix)


def caught_index(x, place):
    try:
        return x[place]
    except IndexError:
        return x[-1] * 0


def rows(x):
    total = np.zeros(x.shape[1])
    for row in x:
        if row.sum() > 0:
            total = total + row
        else:
            total -= row
    return total


def generator_expression(x):
    return sum(v * v for v in x if v > 0)


def comprehension(x):
    return {f"row{i}": row.max() for i, row in enumerate(x) if row.max() > 1}


def _walk(x, low, depth=3):
    if depth == 0 or x < low:
        return x
    return _walk(x / 2, low, depth - 1) + 1


def recursion(x, low):
    return _walk(x, low)


def zipped(x, y):
    chosen = []
    for a, b in zip(x, y, strict=True):
        chosen.append(a if a > b else b)
    return np.array(chosen)


def unpacked(x):
    first, *rest = x
    a, b = x[:2]
    return first + b if a > 0 else sum(rest)


def closure(x):
    limit = x.mean()

    def keep(v, factor=2.0):
        return v * factor if v > limit else v

    return np.array([keep(v) for v in x])


def loop_with_else(x):
    for v in x:
        if v < 0:
            found = v
            break
    else:
        found = np.float64(0.0)
    return found


def writes_on_the_way(x):
    """The argument is changed before, between and after the questions."""
    x += 1
    if x[0] > 2:
        x[1:] = 0
    y = x.copy()
    x *= 2
    if y.sum() > 3:
        x[0] = -1
    return y


def counters(x):
    n = int(x.sum())
    out = np.zeros(n)
    for i in range(n):
        out[i] = i * x[0]
    return out


def match(x):
    match int(x):
        case 0:
            return "none"
        case 1 | 2:
            return "few"
        case n if n < 0:
            raise ArithmeticError("fewer than none")
    return "many"


def piecewise_loss(x):
    """A scalar of branches on each element, as a loop writes it."""
    total = 0.0
    for v in x:
        if v > 1:
            total += v * v
        elif v < -1:
            total -= v
        else:
            total += np.sin(v)
    return total


def _vectors(*values):
    return lambda: [(np.array(value, dtype=float),) for value in values]


def _pairs(*values):
    return lambda: [(np.array(a, dtype=float), np.array(b, dtype=float)) for a, b in values]


PROGRAMS = [
    DynamicProgram(
        "and_or_not", and_or_not, _pairs(([1, 2], [3, 4]), ([1, 2], [-3, -4]), ([-1, 0], [1, 1]), ([-1, 0], [-9, 1]))
    ),
    DynamicProgram("value_of_or", value_of_or, _vectors([1, 2], [1, 1], [-1, 3, 1], [0, 0])),
    DynamicProgram("any_and_all", any_and_all, _vectors([4, 2], [0.5, 0.25], [-1, -2])),
    DynamicProgram("chained_comparison", chained_comparison, _vectors([-1], [5, 6], [100])),
    DynamicProgram("asserts", asserts, _vectors([1, 4], [0, 9], [4, -1], [1, 1])),
    DynamicProgram("caught", caught, _vectors([1, 4], [-1, 0], [2, 2]), (1e-15, 0.0)),
    DynamicProgram(
        "caught_from_numpy",
        caught_from_numpy,
        lambda: [(np.diag([1.0, 2.0]),), (np.zeros((2, 2)),), (np.diag([3.0, 2.0]),)],
        (1e-13, 1e-15),
    ),
    DynamicProgram("caught_index", caught_index, lambda: [(np.arange(4.0), np.int64(k)) for k in (1, 3, 9, -2, 5)]),
    DynamicProgram("rows", rows, _vectors([[1, 2], [-3, 1]], [[1, 2], [3, 4]], [[-1, 0], [-1, 0], [5, 5]])),
    DynamicProgram("generator_expression", generator_expression, _vectors([1, -2, 3], [-1, -1], [2])),
    DynamicProgram("comprehension", comprehension, _vectors([[1, 2], [0, 0]], [[3, 0], [0, 4]])),
    DynamicProgram(
        "recursion", recursion, lambda: [(np.float64(v), np.float64(1.0)) for v in (0.5, 3.0, 100.0)], gradient=(0,)
    ),
    DynamicProgram("zipped", zipped, _pairs(([1, 2], [3, 0]), ([5, 5], [1, 9]))),
    DynamicProgram("unpacked", unpacked, _vectors([1, 2, 3], [-1, 2, 3], [0, 4])),
    DynamicProgram("closure", closure, _vectors([1, 2, 6], [4, 4])),
    DynamicProgram("loop_with_else", loop_with_else, _vectors([1, -2, 3], [1, 2], [-5])),
    DynamicProgram("writes_on_the_way", writes_on_the_way, _vectors([1, 2, 3], [5, 2, 3], [0, 0, 0])),
    DynamicProgram("counters", counters, _vectors([1, 2], [2, 2], [0, 0])),
    DynamicProgram("match", match, lambda: [(np.float64(v),) for v in (0, 1, 2, 9, -1)]),
    DynamicProgram(
        "piecewise_loss", piecewise_loss, _vectors([2.0, -3.0, 0.5], [0.1, 0.2], [3.0]), (1e-14, 0.0), gradient=(0,)
    ),
]
