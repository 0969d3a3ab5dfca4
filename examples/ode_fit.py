"""The parameters of a differential equation, fitted to noisy observations by the gradient of a simulation.

Lotka and Volterra's hunters and prey: prey' = a prey - b prey hunters, hunters' = c prey hunters - d hunters.  The
equation is solved by the classical Runge-Kutta method in a `scan`; the error is differentiated through all its steps.
"""

import time

import numpy as np

import tracejit as tj

TRUE = np.array([1.1, 0.4, 0.1, 0.4])
START = np.array([10.0, 10.0])


def flow(state, parameters):
    prey, hunters = state[0], state[1]
    a, b, c, d = parameters[0], parameters[1], parameters[2], parameters[3]
    return np.stack([a * prey - b * prey * hunters, c * prey * hunters - d * hunters])


def simulate(parameters, steps, length):
    """The states after each step."""

    def step(state, _):
        k1 = flow(state, parameters)
        k2 = flow(state + 0.5 * length * k1, parameters)
        k3 = flow(state + 0.5 * length * k2, parameters)
        k4 = flow(state + length * k3, parameters)
        state = state + length / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return state, state

    return tj.scan(step, START, None, length=steps)[1]


def main(steps=400, length=0.05):
    observed = tj.jit(simulate, static_argnames=("steps",))(TRUE, steps, length)
    observed = observed + np.random.default_rng(0).normal(0, 0.05, observed.shape)

    def error(logarithms):
        """Of the parameters' logarithms, so that they stay positive."""
        return np.mean((simulate(np.exp(logarithms), steps, length) - observed) ** 2)

    guess = TRUE * np.array([1.15, 0.9, 1.1, 0.88])
    begun = time.perf_counter()
    found = tj.optim.LBFGS(iterations=100).minimize(error, np.log(guess))
    seconds = time.perf_counter() - begun
    fitted = np.exp(found.parameters)
    print(f"error {error(np.log(guess)):.3f} at the guess, {found.value:.5f} after {found.iterations} iterations")
    print(f"{found.evaluations} gradients through {steps} steps in {seconds:.2f} s")
    for name, true, value in zip("abcd", TRUE, fitted, strict=True):
        print(f"{name} = {value:.4f} (true {true})")


if __name__ == "__main__":
    main()
