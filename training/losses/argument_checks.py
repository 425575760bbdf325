"""What losses are given, checked before anything is computed: wrong arguments end in words of ours, or in a wrong loss.

Kind, dtype, shape and device cost nothing and are always checked, in every step, on a GPU too. Values of tensors are
read where they stand on the CPU, or where the function reads them anyway: a GPU never waits for a check. NaN is not
looked for where it goes through to the result, at which trainers stop and name the step.
"""

import math
from numbers import Real
from typing import Any, Self

import torch


class Given:
    """The tensors of one call: an axis of one name has one length in all of them, and all stand on one device.

    `axes` below names the axes of a tensor, separated by spaces: a word, a fixed length, or first of all `...` for any
    number of axes; `?` behind a word lets its length be 0.
    """

    def __init__(self) -> None:
        self._lengths: dict[str, tuple[int | tuple[int, ...], str]] = {}
        self._device: tuple[torch.device, str] | None = None

    def floats(self, axes: str, **tensors: Any) -> Self:
        """Refuse tensors of other dtypes than floats.

        Raises:
            TypeError: If one is no tensor.
            ValueError: If one has another dtype, shape or device.
        """
        for name, tensor in tensors.items():
            self._check(name, tensor, axes, "floats")
            if not tensor.is_floating_point():
                raise ValueError(f"{name} is {tensor.dtype}: give floats {_shown(axes)}.")
        return self

    def flags(self, axes: str, **tensors: Any) -> Self:
        """Refuse masks that are neither of bool nor of 0 and 1 in int64, as tokenizers give them.

        Raises:
            TypeError: If one is no tensor.
            ValueError: If one has another dtype, shape or device, or on the CPU other values.
        """
        for name, tensor in tensors.items():
            self._check(name, tensor, axes, "a mask")
            if tensor.dtype not in (torch.bool, torch.int64):
                raise ValueError(f"{name} is {tensor.dtype}: give a mask {_shown(axes)} of bool.")
            if tensor.dtype == torch.int64:
                check_range(name, tensor, (tensor == 0) | (tensor == 1), "a mask of bool, or of 0 and 1")
        return self

    def optional_flags(self, axes: str, **tensors: Any) -> Self:
        """As `flags`, but None passes: all is valid.

        Raises:
            TypeError: If one is no tensor, nor None.
            ValueError: If one has another dtype, shape or device, or on the CPU other values.
        """
        return self.flags(axes, **{name: tensor for name, tensor in tensors.items() if tensor is not None})

    def bools(self, axes: str, **tensors: Any) -> Self:
        """Refuse masks of other dtypes than bool, where numbers would mean places.

        Raises:
            TypeError: If one is no tensor.
            ValueError: If one has another dtype, shape or device.
        """
        for name, tensor in tensors.items():
            self._check(name, tensor, axes, "a mask")
            if tensor.dtype != torch.bool:
                raise ValueError(f"{name} is {tensor.dtype}: give a mask {_shown(axes)} of bool.")
        return self

    def whole(self, axes: str, **tensors: Any) -> Self:
        """Refuse tensors of other dtypes than int64.

        Raises:
            TypeError: If one is no tensor.
            ValueError: If one has another dtype, shape or device.
        """
        for name, tensor in tensors.items():
            self._check(name, tensor, axes, "whole numbers")
            if tensor.dtype != torch.int64:
                raise ValueError(f"{name} is {tensor.dtype}: give int64 {_shown(axes)}.")
        return self

    def _check(self, name: str, tensor: Any, axes: str, what: str) -> None:
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} is {type(tensor).__name__}: give a tensor of {what} {_shown(axes)}.")
        letters = axes.split()
        leading = letters.pop(0) if letters and letters[0].startswith("...") else None
        surplus = tensor.dim() - len(letters)
        if surplus < 0 or (surplus and leading is None):
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}: give {_shown(axes)}.")
        if leading is not None:
            self._compare(name, leading, tuple(tensor.shape[:surplus]))
        for letter, length in zip(letters, tensor.shape[surplus:], strict=True):
            if not length and not letter.endswith("?"):
                raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, and is empty: give {_shown(axes)}.")
            if letter.isdigit() and length != int(letter):
                raise ValueError(f"{name} has the shape {tuple(tensor.shape)}: give {_shown(axes)}.")
            self._compare(name, letter.rstrip("?"), length)
        device, first = self._device = self._device or (tensor.device, name)
        if tensor.device != device:
            raise ValueError(f"{name} is on {tensor.device}, and {first} on {device}: move one of them.")

    def _compare(self, name: str, axis: str, length: int | tuple[int, ...]) -> None:
        known, first = self._lengths.setdefault(axis, (length, name))
        if length != known:
            raise ValueError(f"{axis} is {length} in {name}, and {known} in {first}: give both of one batch.")

    def temperature(self, **values: Any) -> Self:
        """Refuse what divides by nothing, or turns a loss round: a number, or a tensor of one, must be above 0.

        Raises:
            TypeError: If it is neither.
            ValueError: If it is not above 0, or a tensor of other numbers or on another device.
        """
        for name, value in values.items():
            if not isinstance(value, torch.Tensor):
                check_number(value, name)
            elif value.numel() != 1 or not value.is_floating_point():
                raise ValueError(f"{name} has the shape {tuple(value.shape)} in {value.dtype}: give one float.")
            elif self._device and value.device != self._device[0] and (value.dim() or value.device.type != "cpu"):
                raise ValueError(f"{name} is on {value.device}, and {self._device[1]} on {self._device[0]}: move one.")
            # NaN goes through to the loss.
            if (not isinstance(value, torch.Tensor) or _is_cpu(value)) and value <= 0:
                raise ValueError(f"{name} {float(value)} is not above 0; the paper's is 0.07.")
        return self


def check_one_width(**tensors: torch.Tensor) -> None:
    """Refuse float64 beside narrower floats, which torch multiplies only among themselves.

    Raises:
        ValueError: If there are both.
    """
    if len({tensor.dtype == torch.float64 for tensor in tensors.values()}) > 1:
        dtypes = " and ".join(f"{name} is {tensor.dtype}" for name, tensor in tensors.items())
        raise ValueError(f"{dtypes}: give both in one of them.")


def check_number(value: Any, name: str, least: float = -math.inf) -> None:
    """Refuse what is not a finite number of at least `least`.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is another number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {type(value).__name__}: give a number.")
    if not math.isfinite(value) or value < least:
        bound = "" if least == -math.inf else f" of at least {least}"
        raise ValueError(f"{name} is {value}: give a finite number{bound}.")


def check_count(value: Any, name: str) -> None:
    """Refuse what is not a whole number of at least 1.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least 1.")


def check_generator(generator: Any, device: torch.device | str | None) -> None:
    """Refuse a generator of another device than that of what is drawn.

    Raises:
        TypeError: If it is no generator, nor None.
        ValueError: If it is of another kind of device.
    """
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator is {type(generator).__name__}: give a torch.Generator, or None.")
    kind = torch.empty(0, device=device).device.type
    if generator.device.type != kind:
        raise ValueError(f"generator is of {generator.device}, and what is drawn is on {kind}: give one of {kind}.")


def check_range(name: str, values: torch.Tensor, allowed: torch.Tensor, what: str) -> None:
    """Refuse values that are not `allowed`, where both stand on the CPU.

    Raises:
        ValueError: If there are any.
    """
    if _is_cpu(values) and not allowed.all():
        raise ValueError(f"{name} holds {values[~allowed][0].item()}: give {what}.")


def _is_cpu(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _shown(axes: str) -> str:
    return f"({', '.join(axes.replace('?', '').split())})"
