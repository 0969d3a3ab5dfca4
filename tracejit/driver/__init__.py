"""The `jit` decorator: tracing on a miss, running generated code on a hit."""

from tracejit.driver.function import Jitted, disable_jit, jit

__all__ = ["Jitted", "disable_jit", "jit"]
