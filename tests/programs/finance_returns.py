"""Returns, drawdown and Sharpe ratio of a table of prices."""

import numpy as np

from tests.programs import Program


def performance(prices, risk_free=0.0):
    returns = np.diff(prices, axis=0) / prices[:-1]
    peak = np.maximum.accumulate(prices, axis=0)
    drawdown = (prices - peak) / peak
    sharpe = (returns.mean(axis=0) - risk_free) / returns.std(axis=0, ddof=1) * np.sqrt(252)
    correlation = np.corrcoef(returns, rowvar=False)
    return sharpe, drawdown.min(axis=0), np.prod(1 + returns, axis=0) - 1, correlation


def make_arguments(rng, size):
    return (100 * np.exp(np.cumsum(0.01 * rng.normal(size=(4 * size, 3)), axis=0)),)


PROGRAMS = [Program("performance", performance, make_arguments, (1e-9, 1e-11))]
