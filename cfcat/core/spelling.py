"""How the names of Workers, and of asyncio's streams and Python's sockets, are spelt here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NoReturn

__all__ = ["Spelt", "camel", "option_instead"]

# Options of others, and what has their place.
_CONTEXT = "tls=make_tls_context({}=...)"
OPTIONS: dict[str, str] = {
    "alpn": _CONTEXT.format("alpn"),
    "cacert": _CONTEXT.format("cacert"),
    "cert": _CONTEXT.format("cert"),
    "family": "address_family",
    "half_open": "allow_half_open",
    "insecure": _CONTEXT.format("insecure"),
    "local_addr": "source",
    "proxy": "via=proxy(URL)",
    "server_hostname": "expected_server_hostname",
    "sni": "expected_server_hostname",
    "ssl": "secure_transport='on', with tls= for a context",
    "starttls": "secure_transport='starttls'",
    "timeout": "connect_timeout, or async with asyncio.timeout()",
}


class _Elsewhere:
    """An attribute that there is not, but elsewhere. The error says what does here what it does there."""

    __slots__ = ("_name", "_text")

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __get__(self, asked: object, kind: type) -> NoReturn:
        text = f"{kind.__name__!r} object has no attribute {self._name!r}; {self._text}"
        raise AttributeError(text, name=self._name, obj=asked)


class Spelt:
    """A class of the API, and what its methods are called elsewhere: in Workers' JavaScript, and `instead`.

    Each of these names is in the class. `__getattr__` would need no list of them, but with it Python looks up every
    attribute the slow way: half as much time again for one line there and back.
    """

    __slots__ = ()

    def __init_subclass__(cls, instead: Mapping[str, str] | None = None, **others: Any) -> None:
        """`instead`: by the name that is used elsewhere, what to type here."""
        super().__init_subclass__(**others)
        ours = [name for name in vars(cls) if "_" in name and not name.startswith("_")]
        texts = {camel(name): f"in Python it is {name}" for name in ours}
        texts |= {name: f"here that is: {text}" for name, text in (instead or {}).items()}
        for name, text in texts.items():
            setattr(cls, name, _Elsewhere(name, text))

    def __dir__(self) -> list[str]:
        names = {name for kind in type(self).__mro__ for name, what in vars(kind).items() if type(what) is _Elsewhere}
        return [name for name in super().__dir__() if name not in names]


def camel(name: str) -> str:
    """`start_tls` as `startTls`."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def option_instead(name: str, options: Collection[str]) -> str:
    """For the message about an option that is none of these: what to type here; "" where we do not know."""
    spelt = next((option for option in options if name == camel(option) != option), None)
    if spelt is not None:
        return f"; in Python it is {spelt}"
    return f"; here that is: {OPTIONS[name]}" if name in OPTIONS else ""
