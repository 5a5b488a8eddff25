"""What each command of a session does: one function for each row of `commands`.

The session calls it with the rest of the line, which `arguments` parses. Whatever SocketError it raises is told in one
line, and the session goes on; CommandError is for a line that cannot be done. Connection operations are in
`connection`.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cfcat.core.address import parse_address
from cfcat.core.certificate import TlsInfo
from cfcat.core.dial import assess
from cfcat.core.workers import WorkersPolicy
from cfcat.edges.stdin import open_input
from cfcat.errors import CommandError, StdinError, reason_of
from cfcat.repl.arguments import (
    parse_eol,
    parse_expect,
    parse_hex,
    parse_log,
    parse_open,
    parse_path,
    parse_protocol,
    parse_set,
    parse_view,
    parse_wait,
    unescape,
)
from cfcat.repl.commands import help_lines
from cfcat.repl.connection import Connection
from cfcat.report.facts import describe_chain, describe_tls
from cfcat.report.render import escape, quote
from cfcat.report.verdict import describe_judgement

if TYPE_CHECKING:
    from cfcat.repl.session import Session

__all__ = ["ACTIONS"]

Action = Callable[["Session", str], Awaitable[None]]

DEFAULT_EXPECT_S = 10.0
# What has come by the deadline is still searched, for so long.
SEARCH_GRACE_S = 0.4
DEFAULT_QUIET_S = 0.5
# :wait gives up on a peer that goes on and on, this long after the shortest possible wait.
LONGEST_NOISE_S = 60.0

ACTIONS: dict[str, Action] = {}  # by the name of the command


def _action(command: str) -> Callable[[Action], Action]:
    """Decorator: register the function as the action of this command."""

    def enter(action: Action) -> Action:
        ACTIONS[command] = action
        return action

    return enter


# ---------------------------------------------------------------------------------------------- TLS


@_action("starttls")
async def _starttls(session: Session, argument: str) -> None:
    connection = session.need_connection()
    protocol = parse_protocol(argument)
    try:
        await connection.start_tls(protocol)
    finally:
        session.face.state_changed()
    session.watch_for_secrets()
    session.note_tls()
    info = _tls_info(session)
    session.face.show_notice(f"TLS established: {info.version}, {info.cipher}")


@_action("tls")
async def _tls(session: Session, argument: str) -> None:
    session.face.show_notice("\n".join(describe_tls(_tls_info(session))))


@_action("cert")
async def _cert(session: Session, argument: str) -> None:
    session.face.show_notice("\n".join(describe_chain(_tls_info(session), time.time())))


def _tls_info(session: Session) -> TlsInfo:
    connection = session.need_connection()
    info = connection.socket.tls_info
    if info is None:
        hint = ":starttls upgrades" if connection.socket.secure_transport == "starttls" else ":open --tls on"
        raise CommandError("there is no TLS on this connection", hint)
    return info


# ------------------------------------------------------------------------------------------ sending


@_action("send")
async def _send(session: Session, argument: str) -> None:
    await session.send(unescape(argument))


@_action("hex")
async def _hex(session: Session, argument: str) -> None:
    await session.send(parse_hex(argument))


@_action("file")
async def _file(session: Session, argument: str) -> None:
    connection = session.need_connection()
    connection.need_writing()
    path = parse_path(argument)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(path, reason_of(error)) from error
    source = None
    try:
        source = open_input(fd, asyncio.get_running_loop())
        while chunk := await source.read():
            await session.send_part(bytes(chunk))
    except StdinError as error:
        raise _unreadable(path, error.detail) from error
    finally:
        if source is not None:
            source.close()
        os.close(fd)


def _unreadable(path: str, reason: str) -> CommandError:
    return CommandError(f"cannot read {escape(path)}: {escape(reason)}")


# --------------------------------------------------------------------------------------- connection


@_action("eof")
async def _eof(session: Session, argument: str) -> None:
    await session.need_connection().end()


@_action("close")
async def _close(session: Session, argument: str) -> None:
    connection = session.need_connection()
    if session.is_closed:
        raise CommandError("the connection is closed", ":open connects again")
    await connection.close()


@_action("open")
async def _open(session: Session, argument: str) -> None:
    await session.reopen(parse_open(argument))


@_action("quit")
async def _quit(session: Session, argument: str) -> None:
    session.over = True


# ----------------------------------------------------------------------------------------- settings


@_action("view")
async def _view(session: Session, argument: str) -> None:
    session.set("view", parse_view(argument))


@_action("eol")
async def _eol(session: Session, argument: str) -> None:
    session.set("eol", parse_eol(argument))


@_action("set")
async def _set(session: Session, argument: str) -> None:
    change = parse_set(argument)
    if change is None:
        session.face.show_notice("\n".join(session.settings.lines()))
    else:
        session.set(change.name, change.value)


@_action("log")
async def _log(session: Session, argument: str) -> None:
    session.log_to(parse_log(argument))


@_action("export")
async def _export(session: Session, argument: str) -> None:
    path = parse_path(argument)
    session.export_to(path)
    session.face.show_notice(f"exported to {escape(path)}")


# ------------------------------------------------------------------------------------------ showing


@_action("info")
async def _info(session: Session, argument: str) -> None:
    session.face.show_notice("\n".join(_facts(session)))


def _facts(session: Session) -> list[str]:
    connection = session.need_connection()
    tls = session.tls_version or "no"
    lines = [f"target: {session.target}"]
    if connection.opening_s is not None:
        proxy = " (the proxy)" if connection.options.via is not None else ""
        local = f", local: {connection.local_address}" if connection.local_address else ""
        lines.append(f"remote: {connection.remote_address}{proxy}{local}")
        lines.append(f"connected in {connection.opening_s:.3f} s, {connection.age_s:.0f} s ago")
    if connection.tls_s is not None:
        lines.append(f"upgraded to TLS in {connection.tls_s:.3f} s")
    lines.append(f"state: {', '.join(session.prompt_state.marks) or 'open'}; TLS: {tls}")
    lines.append(f"sent: {session.sent_bytes} bytes, received: {session.received_bytes} bytes")
    options = connection.options
    if options.via is not None:
        lines.append(f"through: {options.via.text}")
    lines.append(f"options: --tls {options.secure_transport}{' --half-open' if options.allow_half_open else ''}")
    return [*lines, f"settings: {', '.join(session.settings.lines())}"]


@_action("workers")
async def _workers(session: Session, argument: str) -> None:
    session.need_direct()
    options = session.options
    judgement, refusal = await assess(
        parse_address(session.target),
        WorkersPolicy(),
        family=options.address_family,
        timeout_s=options.connect_timeout,
    )
    session.face.show_notice("\n".join(describe_judgement(session.target, judgement, refusal)))


@_action("help")
async def _help(session: Session, argument: str) -> None:
    session.face.show_notice("\n".join(help_lines(argument or None)))


# ------------------------------------------------------------------------------------------ waiting


@_action("wait")
async def _wait(session: Session, argument: str) -> None:
    memory = session.need_connection().memory
    quiet_s = parse_wait(argument)
    if quiet_s is None:
        quiet_s = DEFAULT_QUIET_S
    limit_s = quiet_s + LONGEST_NOISE_S
    try:
        async with asyncio.timeout(limit_s):
            while not memory.ended and await memory.changes_within(quiet_s):
                pass
    except TimeoutError as error:
        raise CommandError(f"the peer did not pause for {quiet_s:g} s within {limit_s:g} s") from error


@_action("expect")
async def _expect(session: Session, argument: str) -> None:
    connection = session.need_connection()
    timeout_s, pattern = parse_expect(argument)
    limit_s = DEFAULT_EXPECT_S if timeout_s is None else timeout_s
    memory, until_s = connection.memory, asyncio.get_running_loop().time() + limit_s
    try:
        while True:
            ended = memory.ended  # what comes during a search is looked at in the next one
            async with asyncio.timeout_at(until_s + SEARCH_GRACE_S):
                if await memory.match(pattern):
                    break
            if ended:
                raise _unmatched(connection, pattern, "the connection ended before a match")
            async with asyncio.timeout_at(until_s):
                await memory.change()
    except TimeoutError as error:
        raise _unmatched(connection, pattern, f"no match within {limit_s:g} s") from error
    session.note_match(pattern.pattern)


def _unmatched(connection: Connection, pattern: re.Pattern[bytes], what: str) -> CommandError:
    last = connection.memory.last_line
    seen = f"the last line seen is {quote(last)}" if last else "nothing was received"
    return CommandError(f":expect {escape(pattern.pattern)}: {what}; {seen}")
