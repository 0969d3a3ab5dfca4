"""Number theory and text: loops over integers, strings built from data."""

import numpy as np

from tests.dynamic_programs import DynamicProgram


def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def collatz_peak(n):
    peak = n
    while n > 1:
        if n % 2:
            n = 3 * n + 1
        else:
            n = n // 2
        peak = np.maximum(peak, n)
    return peak


def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


def gcd_of_all(values):
    result = values[0]
    for value in values[1:]:
        while value != 0:
            result, value = value, result % value
    return result


def sieve(n):
    flags = np.ones(n + 1, dtype=bool)
    flags[:2] = False
    for i in range(2, int(n**0.5) + 1):
        if flags[i]:
            flags[i * i :: i] = False
    return np.flatnonzero(flags)


def sieve_of_data(flags):
    flags = flags.copy()
    flags[:2] = False
    for i in range(2, len(flags)):
        if flags[i]:
            flags[2 * i :: i] = False
    return flags


def fibonacci(n):
    def go(k):
        return k if k < 2 else go(k - 1) + go(k - 2)

    return go(int(n))


def tokenize(codes):
    """Runs of digits become numbers, other codes characters."""
    tokens, number, digits = [], 0, False
    for code in codes:
        if 48 <= code <= 57:
            number, digits = number * 10 + (int(code) - 48), True
            continue
        if digits:
            tokens.append(number)
            number, digits = 0, False
        if code != 32:
            tokens.append(chr(code))
    if digits:
        tokens.append(number)
    return tokens


def binary_text(n):
    digits = ""
    while n > 0:
        digits = str(int(n % 2)) + digits
        n = n // 2
    return digits or "0"


def histogram_of_words(codes):
    counts = {}
    for code in codes.tolist():
        counts[code] = counts.get(code, 0) + 1
    return counts


def stars(x):
    return "\n".join("*" * int(v) for v in x)


def report(x):
    return f"mean {x.mean():.2f}, largest {x.max()} of {len(x)}"


def _texts(*values):
    return lambda: [(np.frombuffer(value.encode(), np.uint8).astype(np.int64),) for value in values]


def _integers(*values):
    return lambda: [(np.int64(value),) for value in values]


PROGRAMS = [
    DynamicProgram("collatz", collatz, _integers(6, 7, 1, 8)),
    DynamicProgram("collatz_int", collatz, lambda: [(6,), (7,), (1,), (8,)]),
    DynamicProgram("collatz_long", collatz, _integers(27, 97, 6), bounded=False),
    DynamicProgram("collatz_peak", collatz_peak, _integers(3, 10, 1)),
    DynamicProgram("gcd", gcd, lambda: [(np.int64(a), np.int64(b)) for a, b in ((12, 18), (7, 0), (35, 21), (100, 7))]),
    DynamicProgram("gcd_int", gcd, lambda: [(12, 18), (7, 0), (35, 21)]),
    DynamicProgram("gcd_of_all", gcd_of_all, lambda: [(np.array([12, 18, 30]),), (np.array([7, 5]),)]),
    DynamicProgram("sieve", sieve, lambda: [(30,), (50,), (10,)]),
    DynamicProgram("sieve_of_data", sieve_of_data, lambda: [(np.ones(12, bool),), (np.ones(7, bool),)]),
    DynamicProgram("fibonacci", fibonacci, lambda: [(np.int64(7),), (np.int64(1),), (9,)]),
    DynamicProgram("tokenize", tokenize, _texts("12+3", "a 10", "7")),
    DynamicProgram("binary_text", binary_text, _integers(10, 0, 7)),
    DynamicProgram("histogram_of_words", histogram_of_words, _texts("abca", "zz")),
    DynamicProgram("stars", stars, lambda: [(np.array([1.0, 3.0]),), (np.array([2.0, 0.0]),)]),
    DynamicProgram("report", report, lambda: [(np.array([1.0, 3.0]),), (np.array([2.5, 0.0, 1.0]),)]),
]
