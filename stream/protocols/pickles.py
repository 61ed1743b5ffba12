"""Arrays and plain values out of a pickle file, without unpickling it: its opcodes are read and nothing is ever called.

Published benchmark files are pickles. A pickle is a program; of what such a program may say, only containers, text,
numbers and the three calls that put a NumPy array together are understood, and those are understood here, not run.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
DTYPES = {"u1": np.uint8, "i4": np.int32, "i8": np.int64}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
CONTAINERS: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
VALUES = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINSTRING", "BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
NOTHING = frozenset({"PROTO", "FRAME"})


class NotPlain(ValueError):
    """The file says something that is neither a plain value nor an array of numbers; the text says what."""


@dataclass(frozen=True)
class _Named:
    name: str


@dataclass
class _Array:
    """An array before its state is known."""

    values: NDArray[Any] | None = None


@dataclass(frozen=True)
class _Dtype:
    code: str


class _Mark:
    pass


def read_pickle(data: bytes) -> Any:
    """The value: dictionaries, lists, tuples, text, bytes, numbers and arrays of small integers.

    Text that Python 2 wrote comes as bytes. Raises NotPlain.
    """
    try:
        return _plain(_Reader().read(data))
    except NotPlain:
        raise
    except Exception as error:
        raise NotPlain(f"this is no pickle, or it is cut short: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.values is None:
            raise NotPlain("an array without content")
        return value.values
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, _Named | _Dtype | _Mark):
        raise NotPlain(f"{value} is no value")
    return value


class _Reader:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        raise NotPlain("the file has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in VALUES:
            is_old_text = name in ("BINSTRING", "SHORT_BINSTRING")
            self._stack.append(argument.encode("latin1") if is_old_text else argument)
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name])
        elif name in CONTAINERS:
            self._stack.append(CONTAINERS[name]())
        elif name not in NOTHING:
            self._others(name, argument)

    def _others(self, name: str, argument: Any) -> None:
        steps: dict[str, Callable[[], None]] = {
            "MARK": lambda: self._stack.append(_Mark()),
            "GLOBAL": lambda: self._stack.append(_Named(argument)),
            "STACK_GLOBAL": self._stack_global,
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "TUPLE": lambda: self._stack.append(tuple(self._since_mark())),
            "TUPLE1": lambda: self._tuple(1),
            "TUPLE2": lambda: self._tuple(2),
            "TUPLE3": lambda: self._tuple(3),
            "APPEND": lambda: self._extend([self._stack.pop()]),
            "APPENDS": lambda: self._extend(self._since_mark()),
            "SETITEM": lambda: self._set(self._last(2)),
            "SETITEMS": lambda: self._set(self._since_mark()),
            "MEMOIZE": lambda: self._memo.__setitem__(len(self._memo), self._stack[-1]),
        }
        if name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name in steps:
            steps[name]()
        else:
            raise NotPlain(f"the instruction {name} is not allowed")

    def _since_mark(self) -> list[Any]:
        start = max(place for place, value in enumerate(self._stack) if isinstance(value, _Mark))
        values = self._stack[start + 1 :]
        del self._stack[start:]
        return values

    def _last(self, count: int) -> list[Any]:
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _tuple(self, count: int) -> None:
        self._stack.append(tuple(self._last(count)))

    def _extend(self, values: list[Any]) -> None:
        self._stack[-1].extend(values)

    def _set(self, values: list[Any]) -> None:
        self._stack[-1].update(zip(values[::2], values[1::2], strict=True))

    def _stack_global(self) -> None:
        module, name = self._last(2)
        self._stack.append(_Named(f"{module} {name}"))

    def _reduce(self) -> None:
        """What three calls would make; every other is refused."""
        function, arguments = self._last(2)
        name = function.name if isinstance(function, _Named) else repr(function)
        if name in RECONSTRUCT:
            self._stack.append(_Array())
        elif name == "numpy dtype":
            code = arguments[0]
            self._stack.append(_Dtype(code.decode() if isinstance(code, bytes) else code))
        elif name == "_codecs encode":
            self._stack.append(str(arguments[0]).encode("latin1"))
        else:
            raise NotPlain(f"a call of {name} is not allowed")

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, by_column, content = state
            if not isinstance(dtype, _Dtype) or dtype.code not in DTYPES:
                raise NotPlain(f"an array of {dtype} is not allowed")
            order: Literal["F", "C"] = "F" if by_column else "C"
            target.values = np.frombuffer(content, DTYPES[dtype.code]).reshape(shape, order=order)
        elif not isinstance(target, _Dtype):
            raise NotPlain(f"a state for {target!r} is not allowed")
