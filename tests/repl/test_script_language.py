"""What scripts and sessions say beyond text: replies, variables, secrets, comments, times."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from cfcat.errors import CommandError
from cfcat.repl.arguments import parse_expect, parse_reply, sent_by
from cfcat.repl.variables import Variables, in_a_pattern, in_escapes
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Result, cfcat, shell
from tests.repl.conftest import greeting, lines_on_demand, opened, refused
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

STARTS_S = 3.0
Environment = dict[str, str | None]


def run_script(script: Script, text: bytes, *options: str, env: Environment | None = None) -> tuple[Result, bytes]:
    """Run a script against a peer: how it went, and what the peer got."""
    with serve(script) as server:
        result = cfcat("--repl", *options, server.address, stdin=text, env=env)
        server.release()
    return Result(result.stdout, result.stderr.replace(server.address, "HOST"), result.status), server.received


def says(*pieces: bytes) -> Script:
    """Each piece a segment of its own, then it listens."""

    def script(conn: Peer) -> None:
        for piece in pieces:
            conn.send(piece)
            conn.quiet(0.03)
        conn.recv_until_eof()

    return script


# -------------------------------------------------------------------------------------------- :reply


@pytest.mark.parametrize(
    ("proto", "pieces", "lines"),
    [
        ("smtp", [b"220-a\r\n220 b\r\n250-x\r\n250 y\r\n500 no\r\n"], ":reply 220\n:reply 250\n:reply 5\\d\\d no"),
        ("smtp", [bytes((byte,)) for byte in b"220-a\r\n220 b\r\n"], ":reply (?s)220-a.*^220 b"),
        ("ftp", [b"220-a\r\n", b"230 no\r\n220 b\r\n"], ":reply 220"),
        ("pop3", [b"+OK hi\r\n-ERR what\r\n"], ":reply \\+OK\n:reply -ERR"),
        ("imap", [b"* OK hi\r\n"], ":reply \\* OK"),
        ("sieve", [b'"SIEVE" "x"\r\nOK\r\n'], ":reply OK"),
        ("redis", [b"*2\r\n$3\r\n", b"abc\r\n:1\r\n+OK\r\n"], ":reply \\*2\n:reply \\+OK"),
        ("none", [b"one\r\ntwo\r\n"], ":reply one\n:reply (?i)TWO"),
        ("smtp", [b"220 a\r\n250 b\r\n"], ":expect ^220\n:reply 250"),
        ("smtp", [b"220 a\r\n250 b\r\n221 c\r\n"], ":reply 220\n:expect ^250\n:reply 221"),
    ],
)
def test_right_reply(proto: str, pieces: list[bytes], lines: str) -> None:
    """Whole, in its order, each looked at once; `:expect` shares the place."""
    result, _ = run_script(says(*pieces), lines.encode() + b"\n:quit\n", "--proto", proto)
    assert result == Result(b"".join(pieces), "", 0)


@pytest.mark.parametrize(
    ("proto", "said", "line", "told"),
    [
        ("smtp", b"500 \x1bno\r\n", ":reply 250", 'the reply is "500 \\x1bno"'),
        ("smtp", b"x250 no\r\n", ":reply 250", 'the reply is "x250 no"'),
        ("imap", b"* OK hi\r\n", ":reply OK", 'the reply is "* OK hi"'),
        ("none", b"no\r\nyes\r\n", ":reply yes", 'the reply is "no"'),
        ("redis", b"-ERR x\r\n", ":reply \\+", 'the reply is "-ERR x"'),
    ],
)
def test_any_other_reply_fails_at_once(proto: str, said: bytes, line: str, told: str) -> None:
    """Without waiting for a better one; it is told."""
    began = time.monotonic()
    result, _ = run_script(greeting(said), line.encode() + b"\n", "--proto", proto)
    assert (result.stderr, result.status) == (f"cfcat: line 1: {line}: {told}\n", 1)
    assert time.monotonic() - began < STARTS_S


def test_reply_that_is_not_whole() -> None:
    """At the deadline, and at the peer's end: how it begins is told."""
    result, _ = run_script(greeting(b"250-a\r\n250-b"), b":reply -t 0.2 250\n", "--proto", "smtp")
    told = ':reply 250: no whole reply within 0.2 s, which begins with "250-a"'
    assert (result.stderr, result.status) == (f"cfcat: line 1: {told}\n", 1)
    result, _ = run_script(lambda conn: conn.send(b"250-a\r\n250-b"), b":reply 250\n", "--proto", "smtp")
    told = ':reply 250: the connection ended in the middle of a reply, which begins with "250-a"'
    assert (result.stderr, result.status) == (f"cfcat: line 1: {told}\n", 1)
    result, _ = run_script(lambda conn: None, b":reply 250\n")
    assert result.stderr == "cfcat: line 1: :reply 250: the connection ended before a reply; nothing was received\n"
    result, _ = run_script(greeting(b""), b":reply -t 0.2 250\n")
    assert result.stderr == "cfcat: line 1: :reply 250: no whole reply within 0.2 s; nothing was received\n"


def test_wrong_answer_in_a_mail_dialog_is_the_end() -> None:
    """The issue's own: BOGUS is answered 500, and an older 250 does not count."""

    def mail(conn: Peer) -> None:
        conn.send(b"220 mail\r\n")
        while line := conn.recv_until(b"\n"):
            if line.startswith(b"EHLO"):
                conn.send(b"250-mail\r\n250-SIZE\r\n250 HELP\r\n")
            elif line.startswith(b"BOGUS"):
                conn.send(b"500 what?\r\n")
                break
            else:
                conn.send(b"250 OK\r\n")
        conn.recv_until_eof()

    script = b":reply 220\nEHLO x\n:reply 250\nNOOP\n:reply 250\nRSET\n:reply 250\nBOGUS\n:reply 250\nQUIT\n"
    result, received = run_script(mail, script, "--proto", "smtp")
    assert (result.stderr, result.status) == ('cfcat: line 9: :reply 250: the reply is "500 what?"\n', 1)
    assert b"QUIT" not in received


def test_imap_is_read_up_to_the_last_tag() -> None:
    """A literal of ours has no tag in it; several commands at once have one reply."""

    def imap(conn: Peer) -> None:
        conn.send(b"* OK hi\r\n")
        conn.recv_until(b"}\r\n")
        conn.send(b"+ go\r\n")
        assert conn.recv_exactly(11) == b"b9 NOOP\r\nx\r"
        conn.recv_until(b"\n")
        conn.send(b"a1 OK done\r\n")
        conn.recv_until(b"a3 NOOP\r\n")
        conn.send(b"a2 OK done\r\n* 1 EXISTS\r\na3 NO no\r\n")
        conn.recv_until_eof()

    script = (
        ":reply \\* OK\na1 APPEND INBOX {11}\n:reply \\+ go\n:send b9 NOOP\\r\\nx\\r\n\n:reply a1 OK\n"
        "a2 NOOP\na3 NOOP\n:reply a3 NO\n:quit\n"
    )
    script = script.replace("\\nx\\r\n\n", "\\nx\\r\n:send \\r\\n\n")
    result, _ = run_script(imap, script.encode(), "--proto", "imap")
    assert (result.stderr, result.status) == ("", 0), result


async def test_replies_in_a_session_after_an_upgrade_and_a_change_of_protocol() -> None:
    """`:set proto` begins with what no match has taken; what failed has been looked at."""
    with serve(says(b"220-a\r\n220 b\r\n250 c\r\n")) as server:
        async with opened(server.address) as (session, face):
            await session.execute(":set proto none")
            await face.until_received(b"250 c\r\n")
            assert (await refused(session, ":reply 250")).message == ':reply 250: the reply is "220-a"'
            await session.execute(":set proto smtp")
            await session.execute(":reply 220 b")
            await session.execute(":reply 250")


def test_protocol_that_greets_is_known_at_any_port_and_behind_an_upgrade(certs: CertSet) -> None:
    """A refusal is not taken for good because older lines would match; STARTTLS was typed."""

    def mail(conn: Peer) -> None:
        conn.send(b"220 mail.example ESMTP\r\n")
        conn.recv_until(b"STARTTLS\r\n")
        conn.send(b"220 go\r\n")
        conn.start_tls(certs.server_context())
        while line := conn.recv_until(b"\n"):
            conn.send(b"250-mail\r\n250-SIZE\r\n250 HELP\r\n" if line.startswith(b"EHLO") else b"550 no\r\n")
            if line.startswith(b"RCPT"):
                break
        conn.recv_until_eof()

    script = b":reply 220\nSTARTTLS\n:reply 220\n:starttls\nEHLO x\n:reply 250\nRCPT TO:<a@b>\n:reply 250\nQUIT\n"
    result, _ = run_script(mail, script, "--tls", "starttls", "--cacert", str(certs.ca))
    assert result.stderr.endswith('cfcat: line 8: :reply 250: the reply is "550 no"\n')
    assert result.status == 1


def test_export_waits_for_the_reply(tmp_path: Path) -> None:
    """At the beginning of a line."""
    module = tmp_path / "worker.mjs"
    script = b":reply (?i)220\nQUIT\n:reply 221\n:quit\n"
    result, _ = run_script(
        lines_after_greeting(b"220 hi\r\n", b"221 bye\r\n"), script, "--proto", "smtp", "--export", str(module)
    )
    assert result.status == 0, result
    assert "(?<![^\\n])(?:221)" in module.read_text()


def lines_after_greeting(first: bytes, *answers: bytes) -> Script:
    def script(conn: Peer) -> None:
        conn.send(first)
        lines_on_demand(*answers)(conn)

    return script


# ------------------------------------------------------------------------------------------ :expect -x


@pytest.mark.parametrize(
    ("said", "line", "told"),
    [
        (b"500 no\r\n250 ok\r\n", ":expect -x ^5 ^250", '"500 no" came, which must not'),
        (b"250 ok\r\n500 no\r\n", ":expect -x ^5 ^250", ""),
        (b"100 a\r\n", ":expect -t 0.2 -x ^5 ^250", 'no match within 0.2 s; the last line seen is "100 a"'),
        (b"xfail\r\n", ":expect -x fail -t 5 ok", '"xfail" came, which must not'),
    ],
)
def test_what_must_not_come(said: bytes, line: str, told: str) -> None:
    """It fails at once; of two matches the earlier counts."""
    result, _ = run_script(greeting(said), line.encode() + b"\n:quit\n")
    pattern = line.rpartition(" ")[2]
    expected = f"cfcat: line 1: :expect {pattern}: {told}\n" if told else ""
    assert (result.stderr, result.status) == (expected, 1 if told else 0)


def test_options_of_expect_and_reply() -> None:
    """In any order, once each; an escaped one is a pattern."""
    wanted = parse_expect("-x ^5 -t 2.5 ^250 ok")
    assert wanted.forbidden is not None
    assert (wanted.timeout_s, wanted.forbidden.pattern, wanted.pattern.pattern) == (2.5, b"^5", b"^250 ok")
    assert parse_reply("-t 3 -x").pattern.pattern == b"-x"
    assert parse_expect("\\-x").pattern.pattern == b"\\-x"
    for argument in ("", "-t 2", "-x (", "-x ( a", "-t x y"):
        with pytest.raises(CommandError):
            parse_expect(argument)


# -------------------------------------------------------------------------- comments, texts, and times


def test_comments_texts_and_dumps() -> None:
    """A comment is nothing, not even expanded; texts go to stderr as they are, escaped."""
    script = (
        b":# ${nothing} here\n:#\n:set expand on\n:#${no}\n:expect ^220\n:echo now \x1b[2J\n:dump 4\n:echo\n:quit\n"
    )
    result, received = run_script(greeting(b"220 hi\r\n"), script + b":quit\n")
    assert received == b""
    assert result.status == 0
    assert result.stderr == "now \\x1b[2J\n< 00000000  68 69 0d 0a                                      |hi..|\n\n"


def test_dump_has_limits() -> None:
    """A number, and something to show."""
    result, _ = run_script(greeting(b""), b":dump\n")
    assert (result.stderr, result.status) == ("cfcat: line 1: nothing was received\n", 1)
    result, _ = run_script(greeting(b"x"), b":expect x\n:dump 0\n")
    assert result.stderr.startswith("cfcat: line 2: '0' is not a number of bytes from 1 to 16384\n")


def test_sleep() -> None:
    """For so long nothing is done."""
    began = time.monotonic()
    result, _ = run_script(greeting(b""), b":sleep 0.5\n:quit\n")
    assert result == Result(b"", "", 0)
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(
    ("script", "where"),
    [
        (b":timeout 0.3\n:expect -t 60 x\n", "line 2"),
        (b":timeout 60\n:timeout 0.3\n:sleep 60\n", "line 3"),
        (b":timeout 0.3\n", "the reading behind its last line"),
    ],
)
def test_time_of_a_script(script: bytes, where: str) -> None:
    """28, whatever it waits for; the last one counts."""
    result, _ = run_script(lambda conn: conn.hang(), script)
    limit = "0.3"
    assert (result.stderr, result.status) == (f"cfcat: HOST: :timeout {limit} is over, in {where}\n", 28)


def test_time_that_is_enough() -> None:
    """Nothing is said of it."""
    result, _ = run_script(greeting(b""), b":timeout 5\n:quit\n")
    assert result == Result(b"", "", 0)


async def test_time_of_a_session_is_a_persons() -> None:
    """It is said, and no failure."""
    with serve(greeting(b"")) as server:
        async with opened(server.address) as (session, face):
            await session.execute(":timeout 5")
            assert face.notices.pop() == ":timeout is for scripts; Ctrl-C cancels what takes too long"


# -------------------------------------------------------------------------------------------- variables


def test_values_take_the_place_of_names() -> None:
    """Groups before --var before the environment; each as it is."""
    script = (
        b"${A} ${B} $${A} ${ $C} ${HERE\n:reply 220 (?P<A>\\S+)(?P<gone>x)?\n${A}\n:send ${ESC}\\r\\n\n"
        b":expect ${DOT}\n:hex ${HEX}\n${COLON}\n:quit\n"
    ).replace(b"${ $C} ", b"")
    env: Environment = {
        "A": "env",
        "B": "${A}",
        "ESC": "\\n\\x",
        "DOT": "a.b*",
        "HEX": "0d0a",
        "COLON": ":quit",
    }
    result, received = run_script(
        lines_after_greeting(b"", b"220 group\r\naxb a.b*\r\n"), script, "--var", "A=var=1", env=env
    )
    assert (result.stderr, result.status) == ("", 0)
    assert received == b"var=1 ${A} ${A} ${HERE\r\ngroup\r\n\\n\\x\r\n\r\n:quit\r\n"


def test_names_are_text_without_being_asked_for() -> None:
    """And `:set expand off` ends it. That a value is left out is told once, unless that was asked for."""
    script = b":# ${A}\n${none}\n${A}\n:echo ${A}\n:set expand on\n${A}\n:set expand off\n${A}\n"
    result, received = run_script(Peer.recv_until_eof, script, env={"A": "1", "none": None})
    assert (result.status, received) == (0, b"${none}\r\n${A}\r\n1\r\n${A}\r\n")
    assert result.stderr == "cfcat: ${A} is taken as it is; :set expand on puts in its value\n${A}\n"
    result, _ = run_script(Peer.recv_until_eof, b":set expand off\n${A}\n", env={"A": "1"})
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["missing", "", "a b", "LINES_"])
def test_unknown_name_fails_the_line(name: str) -> None:
    """And nothing of it is sent; so does a value with a line end."""
    env: Environment = {"LINES_": "a\nb"}
    result, received = run_script(greeting(b""), b"x${" + name.encode() + b"}\n", "--var", "A=1", env=env)
    text, hint = check_form(result.stderr)
    assert name == "LINES_" or hint.startswith("--var NAME=VALUE, ")
    why = "has a line end in it" if name == "LINES_" else "is not set"
    assert text == f"line 1: ${{{name}}} {why}; nothing was sent"
    assert (result.status, received) == (1, b"")


def test_last_match_that_had_the_group_counts() -> None:
    """One that took no part in a match leaves it."""
    variables = Variables({"a": "given"}, {"b": "env"})
    assert variables.expand("${a}${b}") == "givenenv"
    variables.match({"a": "1", "b": "2"})
    variables.match({"b": "3"})
    assert variables.expand("${a}${b}$${b}$${") == "13${b}${"
    assert variables.expand("${b", str) == "${b"
    assert Variables({"a": "\\x41."}, {}).expand("${a}", in_escapes) == "\\\\x41."
    assert Variables({"a": "\\x41."}, {}).expand("${a}", in_a_pattern) == "\\\\x41\\."


def test_secret_is_judged_by_its_value(tmp_path: Path) -> None:
    """SEC-R26: what stands behind a name may be one."""
    log = tmp_path / "log"
    script = b"${VERB} ${CFCAT_PASS}\nUSER x\n"
    run_script(Peer.recv_until_eof, script, "--var", "VERB=PASS", "--log", str(log), env={"CFCAT_PASS": "hunter2"})
    text = log.read_text()
    assert "hunter2" not in text
    assert "PASS ****" in text
    assert "USER x" in text


async def test_expanded_secret_is_not_stored() -> None:
    """Whoever types the line has it judged as it is sent."""
    with serve(greeting(b"")) as server:
        async with opened(server.address, expand="on") as (session, _):
            await session.execute("PASS ${HOME}")
            assert session.last_was_secret
            await session.execute("${HOME}")
            assert not session.last_was_secret


def test_wrong_variables() -> None:
    """A usage error; in a pipe too."""
    for value in ("A", "1A=x", "=x", "a b=x"):
        assert cfcat("--repl", "--var", value, "127.0.0.1:1", stdin=b"").status == 2
    assert cfcat("--var", "A=1", "127.0.0.1:1", stdin=b"").status == 2


# ---------------------------------------------------------------------------------------------- secrets


def test_secret_of_a_script(tmp_path: Path) -> None:
    """From the environment; masked in the transcript whatever it looks like, but shown where that is asked for."""
    log, bare = tmp_path / "log", tmp_path / "bare"
    script = b"hello\n:secret Password:\nUSER x\n:quit\n"
    for options in (["--log", str(log)], ["--log", str(bare), "--log-secrets"]):
        result, received = run_script(Peer.recv_until_eof, script, *options, env={"CFCAT_SECRET": "PASS w0rd"})
        assert (result, received) == (Result(b"", "", 0), b"hello\r\nPASS w0rd\r\nUSER x\r\n")
    assert "w0rd" not in log.read_text()
    assert [line.partition(" > - ")[2] for line in log.read_text().splitlines() if " > - " in line] == [
        *("hello\\r\\n", "****\\r\\n", "USER x\\r\\n")
    ]
    assert "PASS w0rd" in bare.read_text()
    result, _ = run_script(Peer.recv_until_eof, script, "-x", env={"CFCAT_SECRET": "w0rd"})
    assert "|w0rd..|" in result.stderr


def test_script_without_its_secret() -> None:
    """It says where it is looked for."""
    result, received = run_script(Peer.recv_until_eof, b":secret\n", env={"CFCAT_SECRET": None})
    text = "cfcat: line 1: there is no secret\n  hint: the environment has it: CFCAT_SECRET\n"
    assert (result, received) == (Result(b"", text, 1), b"")


async def test_secret_of_a_session() -> None:
    """It is asked for, sent with the line ending, and the export has a binding in its place."""
    with serve(greeting(b"")) as server:
        async with opened(server.address, eol="lf") as (session, face):
            face.secret = ":quit"
            await session.execute(":secret Code:")
            assert face.questions == ["Code:"]
            assert session.last_was_secret
            assert not session.over
            face.secret = None
            assert (await refused(session, ":secret")).message == "no secret was given; nothing was sent"
            await session.execute(":eof")
    assert server.received == b":quit\n"


def test_base64() -> None:
    """With the escapes, and with the line ending."""
    assert sent_by("-b \\0user\\0pässword") == base64.b64encode("\0user\0pässword".encode())
    assert (sent_by("-b"), sent_by("-bx"), sent_by("x -b y")) == (b"", b"-bx", b"x -b y")
    result, received = run_script(Peer.recv_until_eof, b":send -b a\n:lf\n:send -b \\x00b\n:send \\x2db c\n")
    assert (result.status, received) == (0, b"YQ==\r\nAGI=\n-b c")


def test_base64_behind_a_challenge_is_masked(tmp_path: Path) -> None:
    """AUTH PLAIN by hand."""
    log = tmp_path / "log"
    script = b"AUTH PLAIN\n:reply 334\n:send -b \\0u\\0hunter2\n:reply 235\n:quit\n"
    answers = lines_on_demand(b"334 \r\n", b"235 ok\r\n")
    result, received = run_script(answers, script, "--proto", "smtp", "--log", str(log))
    assert (result.stderr, result.status) == ("", 0)
    assert received == b"AUTH PLAIN\r\n" + base64.b64encode(b"\0u\0hunter2") + b"\r\n"
    assert "AHUA" not in log.read_text()


# --------------------------------------------------------------------------------------------- encoding


async def test_encoding_of_what_is_typed() -> None:
    """Text, patterns and escapes; what has no such character is not sent."""
    with serve(lines_on_demand(b"\xa4\xfc\r\n")) as server:
        async with opened(server.address) as (session, _):
            await session.execute(":set encoding latin-1")
            await session.execute("grün")
            await session.execute(":expect ¤(?P<u>ü)")
            await session.execute(":set expand on")
            await session.execute("${u}")
            error = await refused(session, "€")
            assert (error.message, error.hint) == ("'€' is no character of latin-1; nothing was sent", ":set encoding")
            await session.execute(":set encoding shift_jis")
            await session.execute("表")  # whose second byte is a backslash
            await session.execute(":send \udcff\\n")
            assert (await refused(session, ":expect -t 0 表(")).message.startswith("'表(' is not a regular")
            await session.execute(":eof")
    assert server.received == b"gr\xfcn\r\n\xfc\r\n\x95\x5c\r\n\xff\n"


def test_encoding_of_what_is_quoted() -> None:
    """A message has the text."""
    result, _ = run_script(greeting(b"gr\xfc\xdf\r\n"), b":set encoding latin-1\n:reply x\n")
    assert result.stderr == 'cfcat: line 2: :reply x: the reply is "grüß"\n'


# ------------------------------------------------------------------------------------------- --script


def test_script_that_is_a_program(tmp_path: Path) -> None:
    """Its first line is for the system; any other one of the kind is sent."""
    program = tmp_path / "check"
    program.write_text("#!/usr/bin/env -S cfcat --script\n:reply 220\n#!QUIT\n")
    program.chmod(0o755)
    with serve(greeting(b"220 hi\r\n")) as server:
        done = shell(f"{program} {server.address} -q 0")
    assert (done.stdout, done.stderr, server.received) == (b"220 hi\r\n", "", b"#!QUIT\r\n")


def test_script_from_a_file(tmp_path: Path) -> None:
    """stdin is not read, and may be anything."""
    (tmp_path / "script").write_bytes(b"\xef\xbb\xbf:reply 220\r\nQUIT\n")
    with serve(greeting(b"220 hi\r\n")) as server:
        done = shell(f"printf left | {{ cfcat --script {tmp_path}/script -q 0 {server.address}; cat; }}")
    assert (done.stdout, done.stderr, server.received) == (b"220 hi\r\nleft", "", b"QUIT\r\n")
    with serve(greeting(b"220 hi\r\n")) as server:
        done = shell(f"cfcat --script <(echo :reply 5) {server.address} <&-")
    assert (done.status, done.stderr) == (1, 'cfcat: line 1: :reply 5: the reply is "220 hi"\n')


@pytest.mark.parametrize(("path", "reason"), [("/nowhere", "no such file or directory"), ("/", "is a directory")])
def test_script_that_cannot_be_read(path: str, reason: str) -> None:
    """26, and nobody is connected to."""
    with serve(greeting(b"")) as server:
        result = cfcat("--script", path, server.address)
    assert result == Result(b"", f"cfcat: cannot read {path}: {reason}\n", 26)
    assert server.connections == 0


def test_script_in_the_place_of_the_port(tmp_path: Path) -> None:
    """As other programs have it: the hint is the option."""
    (tmp_path / "s").write_text("")
    result = cfcat("--repl", "127.0.0.1:1", tmp_path / "s", stdin=b"")
    text = f"cfcat: '{tmp_path}/s' is not a port\n  hint: --script {tmp_path}/s runs its lines\n"
    assert result == Result(b"", text, 2)


def test_script_option_with_others() -> None:
    """It is no pipe and no check."""
    for other in ("--pipe", "-z", "-C"):
        assert cfcat("--script", "/dev/null", other, "127.0.0.1:1").status == 2


def test_everything_together_under_tls(certs: CertSet) -> None:
    """:open with its options, then replies under TLS."""

    def secure(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"220 tls\r\n")
        conn.recv_until_eof()

    with serve(secure) as other:
        script = f":open {other.address} --tls on --cacert {certs.ca}\n:reply 220 tls\n:quit\n".encode()
        result, _ = run_script(greeting(b"220 clear\r\n"), b":reply 220 clear\n" + script, "--proto", "smtp")
    assert result.status == 0, result


def test_pattern_that_backtracks_without_end_can_be_left() -> None:
    """SEC-R28: the deadline of `:reply` and `:expect` holds, for what must not come too."""
    for line in (":reply -t 0.3 (a|aa)+$X", ":expect -t 0.3 (a|aa)+$X", ":expect -t 0.3 -x (a|aa)+$X b"):
        began = time.monotonic()
        result, _ = run_script(greeting(b"a" * 60 + b"\r\n"), line.encode() + b"\n")
        assert result.status == 1
        assert "within 0.3 s" in result.stderr
        assert time.monotonic() - began < STARTS_S
