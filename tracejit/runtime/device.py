"""`Device`: where arrays are and kernels run; what is said where there is none."""

from __future__ import annotations

from dataclasses import dataclass

INSTALL = "pip install 'tracejit[cuda]'"

KINDS = {"cpu": "cpu", "cuda": "cuda", "gpu": "cuda"}
"""What users write, and the kind that it means."""


class NoDevice(RuntimeError):
    """A device is asked for that this process does not have; the text says what is missing, and how to get it."""


class DeviceMismatch(ValueError):
    """Arrays of different devices meet in one operation."""


class NoDeviceForm(TypeError):
    """A function does something on a GPU that only NumPy does, on arrays of the host."""


def no_device_form(what: str, device: Device) -> NoDeviceForm:
    """The error for a call whose function has a form on a GPU, but not with such arguments."""
    return NoDeviceForm(f'{what} has no form on {device}. Compute it on x.to("cpu"), outside of the function.')


@dataclass(frozen=True, init=False)
class Device:
    """Where arrays are and kernels run: the CPU, or a GPU by its number.

    name: "cpu", "cuda", "cuda:1" ("gpu" means "cuda"); or the kind alone, with the number as `index`.

    A device can be named whether or not there is one; using it raises NoDevice where there is none.

    >>> import tracejit as tj
    >>> tj.Device("cuda")
    Device('cuda:0')
    >>> tj.Device("cuda", 1) == tj.Device("cuda:1")
    True
    """

    kind: str
    index: int

    def __init__(self, name: str | Device, index: int | None = None) -> None:
        text = str(name)
        kind, colon, number = text.lower().strip("/").removeprefix("device:").partition(":")
        wrong = kind not in KINDS or (colon and not number.isdigit()) or (colon and index is not None)
        if wrong or (kind == "cpu" and int(number or index or 0) != 0):
            raise ValueError(
                f'no device is called {text!r}: there are "cpu" and, where a GPU is found, "cuda" or "cuda:0"'
            )
        object.__setattr__(self, "kind", KINDS[kind])
        object.__setattr__(self, "index", int(number) if colon else index or 0)

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"{self.kind}:{self.index}"

    def __repr__(self) -> str:
        return f"Device({str(self)!r})"


CPU = Device("cpu")
