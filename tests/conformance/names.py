"""Exceptions of cfcat to recorded errors: the one table from class to `name`."""

from __future__ import annotations

from typing import Any

from cfcat import errors

__all__ = ["RECORDED_NAMES", "SeenError", "record_error"]

# The nearest class in the order of inheritance counts: InjectionError is an UpgradeError in Python only.
RECORDED_NAMES: dict[type[BaseException], str] = {
    errors.AddressError: "TypeError",
    errors.OptionsError: "TypeError",
    errors.ConnectError: "Error",
    errors.TlsError: "Error",
    errors.UpgradeError: "TypeError",
    errors.InjectionError: "Error",
    errors.LockError: "TypeError",
    errors.ClosedError: "TypeError",
    errors.CancelError: "Error",
    errors.LostError: "Error",
    TypeError: "TypeError",
}


class SeenError(dict[str, Any]):
    """An error as the format records it, and the `exception` that it was."""

    def __init__(self, members: dict[str, Any], exception: BaseException) -> None:
        super().__init__(members)
        self.exception = exception


def record_error(error: BaseException) -> SeenError:
    """Record an exception. One that is in no table is recorded under its Python name, which no scenario has."""
    if isinstance(error, errors.AbortError):
        return SeenError({"value": error.reason}, error)
    for kind in type(error).__mro__:
        if kind in RECORDED_NAMES:
            message = getattr(error, "message", str(error))
            return SeenError({"name": RECORDED_NAMES[kind], "message": message}, error)
    return SeenError({"name": f"python:{type(error).__qualname__}", "message": str(error)}, error)
