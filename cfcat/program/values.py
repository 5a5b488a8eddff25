"""Values of the command line: text that was given, converted; or one line about what is wrong with it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from cfcat.edges.target import in_ascii, listen_target, proxy_in_ascii, typed_name, typed_target
from cfcat.errors import AddressError, CommandError, OptionsError, UsageError

if TYPE_CHECKING:
    from cfcat.core.address import Target
    from cfcat.protocols import Protocol
    from cfcat.proxies.url import Proxy

__all__ = [
    "check_claim",
    "check_helo",
    "check_listen_target",
    "check_name",
    "check_pattern",
    "check_profile",
    "check_protocol",
    "check_proxy",
    "check_resolve",
    "check_source",
    "check_target",
    "check_variable",
    "check_words",
]

MOST_WORDS = 2  # a host, and its port


def check_words(words: list[str], given: list[str]) -> None:
    """The words of a command line, of which there are two at most. `given` are its options. Raises UsageError."""
    if len(words) > MOST_WORDS:
        from cfcat.program.habits import extra_words  # lazy: a mistake only

        extra = ", ".join(f"'{_shown(word)}'" for word in words[MOST_WORDS:])
        raise UsageError(f"more than a host and a port: {extra}", extra_words(words, given))


def check_target(target: str | None, port: str | None) -> Target:
    """`host:port` or, nc's way, `host port`. Raises UsageError."""
    if target is None:
        raise UsageError("no target given", "cfcat HOST:PORT, or cfcat --help")
    words = [target] if port is None else [target, port]
    if port is not None and _has_port(target):
        _refuse_words_of_others(words)
        if os.path.isfile(port):  # as expect and swaks have it
            raise UsageError(f"'{_shown(port)}' is not a port", f"--script {_shown(port)} runs its lines")
        raise UsageError(f"two ports given: '{_shown(target)}' and '{_shown(port)}'", f"cfcat {_shown(target)}")
    try:
        return typed_target(target, port)
    except AddressError as error:
        from cfcat.report.messages import explain_address  # lazy: what is wrong only

        _refuse_words_of_others(words)
        raise UsageError(*explain_address(target if port is None else f"{target}:{port}", error)) from error


def check_listen_target(target: str | None, port: str | None, option: str = "-l") -> tuple[Target, tuple[str, ...]]:
    """Where `-l` or `--tap` listens, as `listen_target`. Raises UsageError."""
    if target is None:
        raise UsageError("-l: no port given", "cfcat -l PORT, or -l ADDRESS:PORT, or -l unix:PATH")
    if port is not None and (":" in target and not target.startswith(("[", ":")) and _has_port(target)):
        raise UsageError(f"two ports given: '{_shown(target)}' and '{_shown(port)}'", f"cfcat -l {_shown(target)}")
    try:
        return listen_target(target, port)
    except AddressError as error:
        text = _shown(target if port is None else f"{target} {port}")
        hint = f"cfcat {option} PORT, or {option} ADDRESS:PORT, or {option} unix:PATH"
        raise UsageError(f"{option}: '{text}' is not an address to listen on", hint) from error


def _refuse_words_of_others(words: list[str]) -> None:
    """Raise UsageError where these are another tool's addresses."""
    from cfcat.program.habits import habit_of_words  # lazy: what is wrong only

    if (hint := habit_of_words(words)) is not None:
        raise UsageError(f"'{_shown(' '.join(words))}': expected host:port, not an address of socat", hint)


def _shown(text: str) -> str:
    """As it may stand in a message."""
    from cfcat.report.render import escape  # lazy: what is wrong only

    return escape(text)


def _has_port(text: str) -> bool:
    try:
        typed_target(text)
    except AddressError:
        return False
    return True


def check_name(name: str) -> str:
    """The name of `--sni`, in ASCII. Raises UsageError."""
    if not name:
        raise UsageError("--sni needs a name")
    try:
        return typed_name(name)
    except AddressError as error:
        raise UsageError(f"--sni: '{_shown(name)}' is not a host name{_why(error)}") from error


def _why(error: AddressError) -> str:
    return f": {_shown(error.detail)}" if error.detail else ""


def check_proxy(url: str) -> Proxy | None:
    """The proxy of `--proxy`, with the credentials of the environment where it has none; None for "env".

    Raises UsageError, which repeats nothing of the URL: a password may be in it.
    """
    if url == "env":
        return None
    from cfcat.proxies.url import proxy  # lazy: most runs have none

    user, password = os.environ.get("CFCAT_PROXY_USER"), os.environ.get("CFCAT_PROXY_PASSWORD")
    has_passwords = not url.lower().startswith("socks4")
    try:
        return proxy(proxy_in_ascii(url), user=user, password=password if has_passwords else None)
    except OptionsError as error:
        raise UsageError(f"--proxy: {error.message}", "socks5h://HOST:PORT, http://USER:PASSWORD@HOST:PORT") from error


def check_source(text: str) -> str:
    """The value of `--source`, in ASCII. Raises UsageError."""
    from cfcat.core.route import parse_source  # lazy: most runs have none

    text = _in_ascii("--source", text)
    try:
        parse_source(text)
    except OptionsError as error:
        raise UsageError(f"--source: {error.message}") from error
    return text


def _in_ascii(option: str, text: str) -> str:
    try:
        return in_ascii(text)
    except AddressError as error:
        raise UsageError(f"{option}: '{_shown(text)}': not a host name{_why(error)}") from error


def check_claim(text: str, *, listens: bool) -> None:
    """The value of `--proxy-protocol`. Raises UsageError."""
    if listens and ":" in text:
        raise UsageError("--proxy-protocol: with -l the client says who it is, and no address is given")
    from cfcat.proxies.header import parse_claim  # lazy: most runs have none

    try:
        parse_claim(text)
    except OptionsError as error:
        raise UsageError(f"--proxy-protocol: {error.message}") from error


def check_resolve(entries: list[str]) -> dict[str, list[str]]:
    """The values of `--resolve`. Raises UsageError."""
    from cfcat.core.route import parse_resolve  # lazy: most runs have none

    try:
        return parse_resolve(_in_ascii("--resolve", entry) for entry in entries)
    except OptionsError as error:
        raise UsageError(f"--resolve: {error.message}", "--resolve example.com:443:192.0.2.7,2001:db8::7") from error


def check_helo(name: str) -> None:
    """The name of `--helo`. Raises UsageError."""
    from cfcat.protocols.helo import is_helo_name  # lazy: most runs have no dialog

    if not is_helo_name(name):
        hint = "a domain, or an address: [192.0.2.7], [IPv6:2001:db8::7]"
        raise UsageError(f"--helo: '{_shown(name)}' is no name for EHLO", hint)


def check_protocol(name: str) -> Protocol:
    """The protocol of `--starttls`. Raises UsageError."""
    from cfcat.protocols import PROTOCOLS  # lazy: most runs have no dialog

    if name not in PROTOCOLS:
        raise UsageError(f"--starttls: '{_shown(name)}' is not known", f"one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def check_pattern(option: str, text: str) -> re.Pattern[bytes]:
    """The REGEX of `--after` and `--until`, by the rules of `:expect`. Raises UsageError."""
    from cfcat.repl.arguments import compile_pattern  # lazy: most runs deliver unseen

    try:
        return compile_pattern(text)
    except CommandError as error:
        raise UsageError(f"{option}: {error.message}", error.hint) from error


def check_variable(text: str) -> tuple[str, str]:
    """The `NAME=VALUE` of `--var`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise UsageError(f"--var: '{_shown(name)}' is no NAME=VALUE", "a NAME has letters, digits and _")
    return name, value


def check_profile(name: str) -> str:
    """The name of `--proto`. Raises UsageError."""
    if name != "auto":
        from cfcat.protocols import PROFILES  # lazy: a session only

        if name not in PROFILES:
            raise UsageError(f"--proto: '{_shown(name)}' is not known", f"one of auto, {', '.join(PROFILES)}")
    return name
