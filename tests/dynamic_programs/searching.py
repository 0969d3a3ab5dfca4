"""Sorting, searching and dynamic programming over integers, as written in Python."""

import numpy as np

from tests.dynamic_programs import DynamicProgram


def quicksort(x):
    if len(x) <= 1:
        return x
    pivot = x[len(x) // 2]
    return np.concatenate([quicksort(x[x < pivot]), x[x == pivot], quicksort(x[x > pivot])])


def insertion_sort(x):
    x = x.copy()
    for i in range(1, len(x)):
        j = i
        while j > 0 and x[j - 1] > x[j]:
            x[j - 1], x[j] = x[j].copy(), x[j - 1].copy()
            j -= 1
    return x


def bubble_sort_in_place(x):
    swapped = True
    while swapped:
        swapped = False
        for i in range(len(x) - 1):
            if x[i] > x[i + 1]:
                x[[i, i + 1]] = x[[i + 1, i]]
                swapped = True
    return x


def binary_search(x, wanted):
    low, high = 0, len(x) - 1
    while low <= high:
        middle = (low + high) // 2
        if x[middle] == wanted:
            return middle
        if x[middle] < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return -1


def beam_search(scores, width):
    """The best paths through a matrix of scores a step."""
    beams = [((), 0.0)]
    for row in scores:
        candidates = []
        for path, total in beams:
            candidates.extend(((*path, token), total + row[token]) for token in range(len(row)))
        candidates.sort(key=lambda item: -item[1])
        beams = candidates[:width]
    return [list(path) for path, _ in beams], beams[0][1]


def edit_distance(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int64)
    table[:, 0] = np.arange(len(a) + 1)
    table[0, :] = np.arange(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            if a[i - 1] == b[j - 1]:
                table[i, j] = table[i - 1, j - 1]
            else:
                table[i, j] = 1 + min(table[i - 1, j], table[i, j - 1], table[i - 1, j - 1])
    return table[-1, -1]


def longest_run(x):
    best = current = 1
    for i in range(1, len(x)):
        current = current + 1 if x[i] == x[i - 1] else 1
        best = max(best, current)
    return best


def run_lengths(x):
    values, counts = [], []
    for value in x:
        if values and values[-1] == value:
            counts[-1] += 1
        else:
            values.append(value)
            counts.append(1)
    return np.array(values), np.array(counts)


def find_pair(x, total):
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if x[i] + x[j] == total:
                return i, j
    return None


def first_peak(x):
    for i in range(1, len(x) - 1):
        if x[i - 1] < x[i] and not x[i] < x[i + 1]:
            return i, x[i]
    raise ValueError("no peak")


def distinct(x):
    if len(np.unique(x)) == len(x):
        return "all different"
    return f"{len(np.unique(x))} of {len(x)}"


def follow_pointers(following, start):
    seen = []
    at = start.item()
    while at not in seen:
        seen.append(at)
        at = following[at].item()
    return seen, at


PROGRAMS = [
    DynamicProgram(
        "quicksort",
        quicksort,
        lambda: [(np.array([3.0, 1.0, 2.0, 5.0, 4.0]),), (np.array([1.0, 1.0, 0.5]),), (np.zeros(0),)],
    ),
    DynamicProgram("insertion_sort", insertion_sort, lambda: [(np.array([3, 1, 2]),), (np.array([1, 2, 3, 4]),)]),
    DynamicProgram(
        "bubble_sort_in_place",
        bubble_sort_in_place,
        lambda: [(np.array([3.0, 1.0, 2.0]),), (np.array([1.0, 2.0, 3.0]),)],
    ),
    DynamicProgram(
        "binary_search",
        binary_search,
        lambda: [(np.arange(0, 20, 2), w) for w in (6, 7, 0, 18)] + [(np.arange(3.0), 2)],
    ),
    DynamicProgram(
        "beam_search",
        beam_search,
        lambda: [(np.log(np.random.default_rng(seed).random((2, 3))), 2) for seed in (0, 1)],
    ),
    DynamicProgram(
        "edit_distance",
        edit_distance,
        lambda: [
            (np.array([1, 2, 3]), np.array([1, 3])),
            (np.array([1, 2]), np.array([2, 1])),
        ],
    ),
    DynamicProgram("longest_run", longest_run, lambda: [(np.array(v),) for v in ([1, 1, 2, 2, 2], [1, 2, 1, 2, 2])]),
    DynamicProgram("run_lengths", run_lengths, lambda: [(np.array(v),) for v in ([1, 1, 2, 2, 2], [3, 1, 1], [7])]),
    DynamicProgram("find_pair", find_pair, lambda: [(np.array([5, 1, 4, 2]), t) for t in (6, 9, 100)]),
    DynamicProgram("first_peak", first_peak, lambda: [(np.array(v),) for v in ([1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 0.0])]),
    DynamicProgram("distinct", distinct, lambda: [(np.array(v),) for v in ([1, 2, 3], [1, 1, 3], [2, 2, 2])]),
    DynamicProgram(
        "follow_pointers",
        follow_pointers,
        lambda: [(np.array([2, 0, 1, 3]), np.int64(0)), (np.array([2, 0, 1, 3]), np.int64(3))],
    ),
]
