# What the firmware uses of MicroPython's `micropython` module, and of viper's types.
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
ptr8 = Any
ptr16 = Any
ptr32 = Any
uint = int

def const(value: T) -> T: ...
def native(function: F) -> F: ...
def viper(function: F) -> F: ...
def mem_info(verbose: int = ...) -> None: ...
