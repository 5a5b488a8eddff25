"""A recording as a Worker: one ES module, with its types in comments.

The Worker holds the same conversations one after the other, and answers a request with all that it read. The Worker
does what the runtime requires for an upgrade: reader and writer are released first (rule S3), and nothing that came in
clear text may be left (S8, SEC-R1). Secrets are bindings, never literals. What every Worker has besides, how it sends,
waits and upgrades, is in `conversation.js`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import count

from cfcat import __version__
from cfcat.core.address import is_ipv6, parse_address
from cfcat.edges.search import SearchTimeout, search_within
from cfcat.errors import AddressError, CommandError
from cfcat.export.javascript import bytes_literals, string_literal
from cfcat.export.waits import Bytes, Lines, Replied, Wait, Waits
from cfcat.record.recording import Conversation, End, Expect, PeerEnd, ReceiveStep, SendStep, StartTls
from cfcat.report.render import escape

__all__ = ["worker_module"]

SEARCH_S = 2.0  # for a pattern of the session's, which a hostile transcript may have made a slow one
SHOWN_BYTES = 40  # of a pattern, in a message
LINE = 110  # characters that a call may have before it is put on several lines
HEAD = """\
// Made by cfcat {version}: a Worker that holds the conversation recorded with
{targets}
// It connects as the session did, sends the same bytes after the same answers, and
// responds with all that it has read; 502 and a reason where the server does otherwise.
{notes}// @ts-check
import {{ connect }} from "cloudflare:sockets";

{env}
"""
HANDLER = """\
export default {
  /**
   * @param {Request} request
   * @param {Env} env
   * @returns {Promise<Response>}
   */
  async fetch(request, env) {
    try {
      return new Response(await converse(env), { headers: { "content-type": "application/octet-stream" } });
    } catch (error) {
      return new Response(`${error}\\n`, { status: 502 });
    }
  },
};

/**
 * Holds the conversation; what the server said.
 * @param {Env} env
 * @returns {Promise<Blob>}
 */
async function converse(env) {
"""


def worker_module(conversations: Sequence[Conversation]) -> str:
    """The source of a Worker.

    Raises:
        CommandError: `connect()` has no way to do the same.
    """
    secrets = _Secrets()
    body = ["/** @type {Conversation} */", "let server;"]
    for conversation in conversations:
        body += ["", *_conversation(conversation, secrets)]
    targets = dict.fromkeys(conversation.connecting.target for conversation in conversations)
    head = HEAD.format(
        version=__version__,
        targets="\n".join(f"//   {ascii(escape(target))[1:-1]}" for target in targets),
        notes=secrets.notes(),
        env=secrets.types(),
    )
    begin = [*secrets.check(), "/** @type {Uint8Array[]} */", "const heard = [];", *body, "return new Blob(heard);"]
    indented = "".join(f"  {line}\n" if line else "\n" for line in begin)
    from importlib.resources import files  # lazy: few sessions are exported

    library = files("cfcat.export").joinpath("conversation.js").read_text("utf-8")
    return f"{head}{HANDLER}{indented}}}\n\n{library}"


class _Secrets:
    """The bindings; each with the text that precedes its secret on the line."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._known: list[tuple[str, str]] = []

    def binding(self, before: str) -> str:
        name = f"SECRET_{next(self._numbers)}"
        self._known.append((name, before))
        return f"env.{name}"

    def notes(self) -> str:
        if not self._known:
            return ""
        rows = [
            f"//   {name}  {f'what was sent after {before}' if before else 'a line of its own'}"
            for name, before in self._known
        ]
        return "//\n// Secrets are not in here. These bindings must have them (wrangler secret put NAME):\n" + "".join(
            f"{row}\n" for row in rows
        )

    def types(self) -> str:
        fields = "; ".join(f"{name}: string" for name, _ in self._known)
        return f"/** @typedef {{{{ {fields} }}}} Env */" if fields else "/** @typedef {{}} Env */"

    def check(self) -> list[str]:
        if not self._known:
            return []
        names = ", ".join(f'"{name}"' for name, _ in self._known)
        return [
            f"for (const name of /** @type {{const}} */ ([{names}])) {{",
            '  if (typeof env[name] !== "string") throw new Error(`the binding ${name} is missing`);',
            "}",
        ]


def _conversation(conversation: Conversation, secrets: _Secrets) -> Iterator[str]:
    yield from _connect(conversation)
    waits = Waits(_search)
    for step in conversation.steps:
        if isinstance(step, ReceiveStep):
            waits.receive(bytes(step.data))
        elif isinstance(step, Expect):
            (waits.reply if step.is_reply else waits.expect)(step.pattern)
        elif isinstance(step, SendStep):
            yield from _wait(waits.take())
            yield from _send(step, secrets)
        elif isinstance(step, StartTls):
            # all of it: a byte that comes later would be taken for the beginning of TLS
            yield from _wait(waits.take_all(check=True))
            yield f"await server.startTls({_server_name(conversation)});"
            waits = Waits(_search)
        elif isinstance(step, End):
            yield from _wait(waits.take())
            yield "server.end();"
        else:
            yield from _wait(waits.take_matches())
            yield "await server.rest();"
    if not conversation.has(PeerEnd):
        yield from _wait(waits.take_all())
    yield "await server.close();"


def _connect(conversation: Conversation) -> Iterator[str]:
    connecting = conversation.connecting
    options = [
        f"secureTransport: {string_literal(connecting.secure_transport)}",
        f"allowHalfOpen: {'true' if connecting.allow_half_open else 'false'}",
    ]
    if connecting.secure_transport == "on" and connecting.server_name is not None:
        raise CommandError(
            "cannot export: connect() verifies the host that it connects to, and no other name (--sni)",
            "with --tls starttls there is a way",
        )
    target = string_literal(connecting.target)
    rest = ", true" if connecting.ignore_unexpected_eof else ""
    yield f"server = new Conversation(connect({target}, {{ {', '.join(options)} }}), heard{rest});"


def _server_name(conversation: Conversation) -> str:
    """The argument of startTls(): a name of its own; an IPv6 address is verified without its brackets (S11)."""
    name = conversation.connecting.server_name
    if name is None:
        try:
            host = parse_address(conversation.connecting.target).host
        except AddressError as error:
            raise CommandError(f"cannot export: {escape(str(error))}") from error
        name = host if is_ipv6(host) else None
    return "" if name is None else f"{{ expectedServerHostname: {string_literal(name)} }}"


def _wait(waits: Sequence[Wait]) -> Iterator[str]:
    for wait in waits:
        if isinstance(wait, Lines):
            begins = f", {string_literal(wait.begins)}" if wait.begins else ""
            yield f"await server.lines({wait.number}{begins});"
        elif isinstance(wait, Bytes):
            exactly = f", {string_literal(wait.exactly)}" if wait.exactly else ""
            yield f"await server.bytes({wait.number}{exactly});"
        else:
            yield f"await server.{'reply' if isinstance(wait, Replied) else 'match'}({wait.regex});"


def _send(step: SendStep, secrets: _Secrets) -> Iterator[str]:
    pieces: list[str] = []
    for part in step.parts:
        if part is None:
            pieces.append(secrets.binding(pieces[-1] if pieces and not pieces[-1].endswith('\\n"') else ""))
        else:
            pieces += bytes_literals(bytes(part))
    line = f"server.send({', '.join(pieces)});"
    if len(line) <= LINE:
        yield line
        return
    yield "server.send("
    yield from (f"  {piece}," for piece in pieces)
    yield ");"


def _search(pattern: bytes, text: bytes) -> int | None:
    """As a session did; what does not compile matches nothing. Raises CommandError: it takes too long."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a transcript may have any pattern in it
            compiled = re.compile(pattern, re.MULTILINE)
        found = search_within(SEARCH_S, compiled, text)
        return None if found is None else found.end
    except (re.error, ValueError, OverflowError, RecursionError):
        return None
    except SearchTimeout as error:
        shown = escape(pattern[:SHOWN_BYTES])
        raise CommandError(f"cannot export: to search for {shown} takes longer than {SEARCH_S:g} s") from error
