"""`Module`: a model as a class, its parameters and buffers by name.

In eager code a parameter is a `tracejit.Array` that gathers gradients.  In compiled code the caller binds values to
parameters and buffers for the time of a call (`functional_call`), so that a model is a pure function of them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import numpy as np

from tracejit.eager import Array, no_grad
from tracejit.random import default_generator, split
from tracejit.trace.state import ACTIVE

_SERIAL = itertools.count()
_MODULES = itertools.count()


class Version:
    """Tells the states of all modules' attributes apart: what was compiled for a model holds in one state.

    Compiled code reads parameters' memory, and looks at the count at each call: that is when what eager code has
    written goes there.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._modes = 0
        self._states: dict[int, int] = {}
        self._count = next(self._numbers)
        self._in_eager_use: WeakSet[Parameter] = WeakSet()
        self._is_eager_used = False

    @property
    def count(self) -> int:
        """The number of the state, the same object for the same one; parameters' memory is up to date when it is told.

        Modules that go out of the mode of training and back are in the state that they were in before.
        """
        if self._is_eager_used:
            for parameter in self._in_eager_use:
                parameter.refresh()
        return self._count

    def change(self) -> None:
        """An attribute of some module has changed."""
        self._states.clear()
        self._look()

    def change_mode(self, serial: int) -> None:
        """The module of that number goes into the mode of training or out of it."""
        self._modes ^= 1 << serial
        self._look()

    def _look(self) -> None:
        if self._modes not in self._states:
            self._states[self._modes] = next(self._numbers)
        self._count = self._states[self._modes]

    def watch(self, parameter: Parameter) -> None:
        """Eager code has a twin of the parameter's memory."""
        self._in_eager_use.add(parameter)
        self._is_eager_used = True


VERSION = Version()


class Parameter:
    """Memory of a module that training changes; `trainable=False` makes it a buffer.

    value: floats for a parameter, any array for a buffer; copied.  `requires_grad=False` freezes a parameter.

    The NumPy array `memory` is what compiled steps read and write; `array` is its twin in eager code.
    """

    def __init__(self, value: Any, trainable: bool = True, requires_grad: bool = True) -> None:
        self._memory = np.array(value)
        if trainable and self._memory.dtype.kind != "f":
            raise TypeError(f"a parameter is an array of floats, not of {self._memory.dtype}; a buffer may be of any")
        self.trainable, self.requires_grad = trainable, requires_grad and trainable
        self.serial = next(_SERIAL)
        self._array: Array | None = None
        self._seen: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._memory.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._memory.dtype

    @property
    def memory(self) -> np.ndarray[Any, Any]:
        """The values; what eager code has changed in `array` is here too."""
        self.refresh()
        return self._memory

    def refresh(self) -> None:
        """Bring `memory` up to date with what eager code has written."""
        if self._array is not None and self._array._value is not self._seen:
            self._memory[...] = np.asarray(self._array)
            self._seen = self._array._value

    @property
    def array(self) -> Array:
        """The values for eager code, with a gradient."""
        if self._array is None:
            self._array = Array(self._memory, requires_grad=self.requires_grad)
            self._seen = self._array._value
            VERSION.watch(self)
        return self._array

    def changed(self) -> None:
        """Tell that `memory` was written to."""
        if self._array is not None:
            with no_grad():
                self._array[...] = self._memory
            self._seen = self._array._value

    def assign(self, value: Any) -> None:
        """Set the values, in the parameter's own dtype.

        Raises ValueError for another shape.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(f"a value of shape {array.shape} cannot be assigned to a parameter of shape {self.shape}")
        self._memory[...] = array
        self.changed()

    def __repr__(self) -> str:
        return f"{'Parameter' if self.trainable else 'Buffer'}(shape={self.shape}, dtype={self.dtype})"


@dataclass
class Bound:
    """Values that stand for parameters and buffers during a call, buffers that the call changed, and its key."""

    values: dict[Parameter, Any]
    key: Any = None
    updated: dict[Parameter, Any] = field(default_factory=dict)


class _Current(threading.local):
    bound: Bound | None = None


_CURRENT = _Current()


@contextmanager
def binding(bound: Bound) -> Iterator[Bound]:
    """Let values stand for parameters inside the `with` block."""
    outer, _CURRENT.bound = _CURRENT.bound, bound
    try:
        yield bound
    finally:
        _CURRENT.bound = outer


def current_key() -> Any:
    """A key that was not used before: of the call's key where it has one, else of the process's generator."""
    bound = _CURRENT.bound
    if bound is None or bound.key is None:
        return default_generator().key()
    pair = split(bound.key)
    bound.key = pair[0]
    return pair[1]


class Module:
    """A layer or a model: make parts in `__init__`, say in `forward` what a call computes.

    Attributes that are Parameters or Modules are the module's own; so are those of its modules, by dotted names.

    >>> import numpy as np
    >>> from tracejit import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 1)
    ...     def forward(self, x):
    ...         return self.last(np.tanh(self.first(x)))
    >>> net = Net()
    >>> net(np.zeros((5, 4), np.float32)).shape
    (5, 1)
    >>> [name for name, _ in net.named_parameters()]
    ['first.weight', 'first.bias', 'last.weight', 'last.bias']
    """

    __guard_version__ = VERSION
    training: bool

    def __init__(self) -> None:
        vars(self).update(_parameters={}, _modules={}, _hooks=[], training=True, _serial=next(_MODULES))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy is a module of its own, which goes into a mode by itself."""
        vars(self).update(state, _serial=next(_MODULES))

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What a call computes; every module has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        hooks = vars(self)["_hooks"]
        for before, hook in hooks:
            if before and (changed := hook(self, inputs)) is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*inputs, **options)
        for before, hook in hooks:
            if not before and (changed := hook(self, inputs, result)) is not None:
                result = changed
        return result

    # ---- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        own = vars(self)
        if "_parameters" not in own:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() before it sets {name!r}")
        if name == "training" and type(own.get(name)) is type(value) is bool:
            if own[name] != value:
                own[name] = value
                VERSION.change_mode(own["_serial"])
            return
        VERSION.change()
        home = "_parameters" if isinstance(value, Parameter) else "_modules" if isinstance(value, Module) else ""
        for kept in ("_parameters", "_modules"):
            if kept != home:
                own[kept].pop(name, None)
        if home:
            own.pop(name, None)
            own[home][name] = value
        else:
            own[name] = value

    def __getattr__(self, name: str) -> Any:
        own = vars(self)
        found = own.get("_parameters", {}).get(name)
        if found is not None:
            return _value(found)
        module = own.get("_modules", {}).get(name)
        if module is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return module

    def __delattr__(self, name: str) -> None:
        own = vars(self)
        VERSION.change()
        for kept in (own["_parameters"], own["_modules"], own):
            if name in kept:
                del kept[name]
                return
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __guard_parts__(self) -> Iterator[Any]:
        """What a call of the module can run: its `forward`, the modules inside, and hooks."""
        yield type(self).forward
        yield from vars(self)["_modules"].values()
        yield from (hook for _, hook in vars(self)["_hooks"])

    def register_buffer(self, name: str, value: Any) -> None:
        """An array that is saved with the parameters and that training does not change by gradients."""
        setattr(self, name, Parameter(value, trainable=False))

    def update_buffer(self, name: str, value: Any) -> None:
        """Give a buffer a new value, in eager code and in compiled calls alike."""
        buffer, bound = vars(self)["_parameters"][name], _CURRENT.bound
        if bound is not None and buffer in bound.values:
            bound.updated[buffer] = bound.values[buffer] = value
        elif ACTIVE.trace is not None:
            raise RuntimeError(
                f"{type(self).__name__} changes its buffer {name!r}, which a compiled function cannot do by itself: "
                "use tracejit.nn.functional_call(..., with_buffers=True), or model.eval()"
            )
        else:
            with no_grad():
                buffer.assign(np.asarray(value))

    # ---- what is inside

    def modules(self) -> Iterator[Module]:
        """The module and all modules inside, each before its own."""
        return (module for _, module in self.named_modules())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The same with their names."""
        yield prefix, self
        for name, module in vars(self)["_modules"].items():
            yield from module.named_modules(f"{prefix}.{name}" if prefix else name)

    def children(self) -> Iterator[Module]:
        """The modules right below."""
        return iter(vars(self)["_modules"].values())

    def _named(self, trainable: bool) -> Iterator[tuple[str, Parameter]]:
        seen: set[Parameter] = set()
        for prefix, module in self.named_modules():
            for name, parameter in vars(module)["_parameters"].items():
                if parameter.trainable == trainable and parameter not in seen:
                    seen.add(parameter)
                    yield (f"{prefix}.{name}" if prefix else name), parameter

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters by dotted name; one that is shared comes once."""
        return self._named(True)

    def parameters(self) -> list[Parameter]:
        """The parameters, in order."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def trainable_weights(self) -> list[Array]:
        """The parameters as eager arrays, for a GradientTape."""
        return [parameter.array for parameter in self.parameters() if parameter.requires_grad]

    def named_buffers(self) -> Iterator[tuple[str, Parameter]]:
        """The buffers by dotted name."""
        return self._named(False)

    # ---- modes and hooks

    def train(self, mode: bool = True) -> Module:
        """Into the mode of training (dropout drops, batch statistics count), or out of it; returns the module."""
        for module in self.modules():
            if module.training != mode:
                module.training = mode
        return self

    def eval(self) -> Module:
        """Out of the mode of training."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze all parameters, or free them; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
            parameter._array = None
        VERSION.change()
        return self

    def zero_grad(self) -> None:
        """Forget the gradients that `backward` has gathered."""
        for parameter in self.parameters():
            if parameter._array is not None:
                parameter._array.zero_grad()

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """Call `hook(module, inputs)` before forward; what it returns stands for the inputs.  Returns its removal."""
        return self._hooked(True, hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """Call `hook(module, inputs, result)` after forward; what it returns stands for the result."""
        return self._hooked(False, hook)

    def _hooked(self, before: bool, hook: Callable[..., Any]) -> Callable[[], None]:
        entry = (before, hook)
        vars(self)["_hooks"].append(entry)
        VERSION.change()

        def remove() -> None:
            vars(self)["_hooks"].remove(entry)
            VERSION.change()

        return remove

    # ---- values

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all parameters and buffers by name."""
        return {name: parameter.memory.copy() for name, parameter in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take values by name; unless `strict` is off, all names must be there, and no others.

        Raises KeyError for missing and unknown names, ValueError for a value of another shape; nothing is changed then.
        """
        own = self._state()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if strict and (missing or unknown):
            parts = [f"has no {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(unknown)}"] * bool(unknown)
            raise KeyError(f"the state does not fit {type(self).__name__}: it {' and '.join(parts)}")
        for name in own.keys() & state.keys():
            if np.shape(state[name]) != own[name].shape:
                raise ValueError(f"{name} has shape {own[name].shape}, and the state has {np.shape(state[name])}")
        for name in own.keys() & state.keys():
            own[name].assign(state[name])

    def _state(self) -> dict[str, Parameter]:
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def extra(self) -> str:
        """What `repr` says of the module besides its name."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(module).replace("\n", "\n  ") for name, module in vars(self)["_modules"].items()
        ]
        inner = "\n" + "\n".join(lines) + "\n" if lines else ""
        return f"{type(self).__name__}({self.extra()}{inner})"


def _value(parameter: Parameter) -> Any:
    """What a parameter is where it is used: a bound value, memory in compiled code, an eager array elsewhere."""
    bound = _CURRENT.bound
    if bound is not None and parameter in bound.values:
        return bound.values[parameter]
    if ACTIVE.trace is not None:
        return parameter.memory
    return parameter.array


def functional_call(
    module: Module,
    values: Mapping[str, Any],
    *inputs: Any,
    key: Any = None,
    with_buffers: bool = False,
    **options: Any,
) -> Any:
    """The module's result with given values for its parameters and buffers: a pure function, for `jit` and `grad`.

    values: by dotted name; those not named keep the module's own.  key: where dropout takes its random numbers from.
    with_buffers: returns (result, changed buffers by name).

    >>> import numpy as np, tracejit as tj
    >>> from tracejit import nn
    >>> layer = nn.Linear(2, 1)
    >>> zeros = {name: np.zeros(p.shape, p.dtype) for name, p in layer.named_parameters()}
    >>> tj.jit(lambda v, x: nn.functional_call(layer, v, x))(zeros, np.ones((3, 2), np.float32)).tolist()
    [[0.0], [0.0], [0.0]]

    Raises KeyError for a name that the module does not have.
    """
    own = module._state()
    unknown = sorted(values.keys() - own.keys())
    if unknown:
        raise KeyError(f"{type(module).__name__} has no parameter or buffer {', '.join(unknown)}")
    with binding(Bound({own[name]: value for name, value in values.items()}, key)) as bound:
        result = module(*inputs, **options)
    if not with_buffers:
        return result
    names = {parameter: name for name, parameter in own.items()}
    return result, {names[buffer]: value for buffer, value in bound.updated.items()}
