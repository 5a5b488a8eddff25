"""What each command of a session does: one function for each row of `commands`.

The session calls it with the rest of the line, which `arguments` parses. Whatever SocketError it raises is told in one
line, and the session goes on; CommandError is for a line that cannot be done. Connection operations are in
`connection`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cfcat.core.address import parse_address
from cfcat.core.certificate import TlsInfo
from cfcat.core.dial import assess
from cfcat.core.workers import WorkersPolicy
from cfcat.edges.heard import RECENT_BYTES
from cfcat.edges.stdin import open_input
from cfcat.errors import CommandError, StdinError, reason_of
from cfcat.protocols.message import Message
from cfcat.repl.arguments import (
    encode,
    parse_dump,
    parse_eol,
    parse_expect,
    parse_file,
    parse_hex,
    parse_log,
    parse_open,
    parse_path,
    parse_protocol,
    parse_reply,
    parse_seconds,
    parse_set,
    parse_view,
    parse_wait,
    sent_by,
)
from cfcat.repl.commands import help_lines
from cfcat.repl.expecting import expect, reply
from cfcat.report.facts import describe_chain, describe_tls
from cfcat.report.hexdump import HexDump
from cfcat.report.render import escape
from cfcat.report.verdict import describe_judgement

if TYPE_CHECKING:
    from cfcat.repl.session import Session

__all__ = ["ACTIONS"]

Action = Callable[["Session", str], Awaitable[None]]

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
    session.follow_protocol()
    session.note_tls()
    info = _tls_info(session)
    session.face.show_notice(f"TLS established: {info.version}, {info.cipher}")


@_action("tls")
async def _tls(session: Session, argument: str) -> None:
    session.notice("\n".join(describe_tls(_tls_info(session))))


@_action("cert")
async def _cert(session: Session, argument: str) -> None:
    session.notice("\n".join(describe_chain(_tls_info(session).chain, time.time())))


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
    encoding = session.settings.encoding
    end = session.line_end if argument.split(" ", 1)[0] == "-b" else b""
    await session.send(sent_by(argument, encoding) + end)


@_action("secret")
async def _secret(session: Session, argument: str) -> None:
    session.need_connection().need_writing()
    secret = await session.face.ask_secret(argument or "secret:")
    if secret is None:
        raise CommandError("no secret was given; nothing was sent")
    await session.send_secret(encode(secret, session.settings.encoding) + session.line_end)


@_action("hex")
async def _hex(session: Session, argument: str) -> None:
    await session.send(parse_hex(argument))


@_action("file")
async def _file(session: Session, argument: str) -> None:
    connection = session.need_connection()
    connection.need_writing()
    path, is_message = parse_file(argument)
    message = Message() if is_message else None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(path, reason_of(error)) from error
    source = None
    try:
        source = open_input(fd, asyncio.get_running_loop())
        while chunk := await source.read():
            await session.send_part(bytes(chunk) if message is None else message.feed(bytes(chunk)))
        if message is not None:
            await session.send_part(message.end())
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
    await session.reaching.connect_again(parse_open(argument))


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
        session.notice("\n".join(session.settings.lines()))
    else:
        session.set(change.name, change.value)


@_action("log")
async def _log(session: Session, argument: str) -> None:
    session.log_to(parse_log(argument))


@_action("pcap")
async def _pcap(session: Session, argument: str) -> None:
    session.capture_to(parse_log(argument))


@_action("export")
async def _export(session: Session, argument: str) -> None:
    path = parse_path(argument)
    session.keeping.export_to(path)
    session.notice(f"exported to {escape(path)}")


# ------------------------------------------------------------------------------------------ showing


@_action("info")
async def _info(session: Session, argument: str) -> None:
    session.notice("\n".join(_facts(session)))


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
    session.notice("\n".join(describe_judgement(session.target, judgement, refusal)))


@_action("help")
async def _help(session: Session, argument: str) -> None:
    session.notice("\n".join(help_lines(argument or None)))


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
    await expect(session, parse_expect(argument, session.settings.encoding))


@_action("reply")
async def _reply(session: Session, argument: str) -> None:
    await reply(session, parse_reply(argument, session.settings.encoding))


@_action("sleep")
async def _sleep(session: Session, argument: str) -> None:
    await asyncio.sleep(parse_seconds(argument))


@_action("timeout")
async def _timeout(session: Session, argument: str) -> None:
    if not session.face.end_within(parse_seconds(argument)):
        session.notice(":timeout is for scripts; Ctrl-C cancels what takes too long")


@_action("#")
async def _comment(session: Session, argument: str) -> None:
    """Nothing is done."""


@_action("echo")
async def _echo(session: Session, argument: str) -> None:
    session.show_text(escape(argument))


@_action("dump")
async def _dump(session: Session, argument: str) -> None:
    recent = session.need_connection().memory.heard.recent
    data = recent[-parse_dump(argument, RECENT_BYTES) :]
    if not data:
        raise CommandError("nothing was received")
    dump = HexDump("<")
    session.show_text("\n".join([*dump.feed(data), *dump.flush()]))
