"""What --help shows: the options that are asked for most, in their groups; and `--help all`: every option, and the
sections after them: examples, statuses, environment.

Typer itself has groups only with rich, which draws boxes and takes 60 ms to load. A help text may have `{protocols}`
and `{profiles}` in it, which are the names of --starttls and --proto from the table of protocols. The other texts here
are kept in step with code and manual by tests/test_documented.py.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

__all__ = ["MOST_WANTED", "GroupedHelp"]

# A group begins with this parameter and goes on to the next one's.
GROUPS = {
    "half_open": "Connection",
    "listen": "Listening",
    "tap": "Tap",
    "replay": "Replay",
    "tls": "TLS",
    "repl": "Mode and data",
    "verbose": "Output",
}

# Words are kept as they are, columns and all.
MORE = """\
Examples:
  printf '\\r\\n' | cfcat gopher.floodgap.com:70
  cfcat --starttls smtp mail.example:587           a session: mail by hand
  cfcat -z -v --tls on example.com:443             the certificate
  cfcat -z --wait 60 db.example:5432               until it is there
  cfcat --tls starttls --script FILE mail.example:587    a script
  cfcat -l 2525 --starttls smtp                    be the server, by hand
  cfcat --tap 1587 mail.example:587                see what a client says
  cfcat -l 2525 --replay smtp.log                  be the server of a transcript

In a session:
  Text is sent with a line ending; :help lists the commands, such as :cert
  and :starttls. Ctrl-D ends sending, and once more the session.

Exit status:
   0  ended in order                 35  TLS handshake failed, or no TLS there
   1  a script's command failed,     55  sending failed
      or no match (--until, --after,
      --replay)
   2  usage                          56  receiving failed (reset)
   6  name not found                 58  certificate unusable
   7  could not connect or listen    60  certificate not trusted, or for
   8  bytes injected after a             another name
      STARTTLS go-ahead              64  STARTTLS refused or not possible
  18  TLS stream cut short: no       70  a bug in cfcat
      close_notify                   77  file of authorities unusable
  23  writing stdout failed          97  the proxy did not connect us
  26  reading stdin or a script    128+n  killed by signal n
      failed
  28  timeout
  52  an HTTP request was not
      answered

Environment:
  SSL_CERT_FILE, SSL_CERT_DIR     authorities to trust
  SSLKEYLOGFILE                   file for the secrets of TLS sessions
  CFCAT_PROXY_USER, CFCAT_PROXY_PASSWORD    credentials for --proxy
  ALL_PROXY, HTTPS_PROXY, NO_PROXY    with --proxy env
  CFCAT_HISTORY, XDG_STATE_HOME   where the history of sessions is kept
  NO_COLOR, FORCE_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM    colour
  CFCAT_SECRET                    what :secret sends in a script
  CFCAT_DEBUG                     1: a traceback with an error

The manual has the rest: man cfcat, cfcat-session, cfcat-scripts,
cfcat-formats, cfcat-security, cfcat-workers; man 3 cfcat for Python.
"""


# What --help has without `all`, and how, where that is to be shorter than its whole text.
MOST_WANTED = {
    "half_open": "Go on sending after the peer's EOF.",
    "connect_timeout": "Deadline until it is connected, TLS too.  [default: 30]",
    "proxy": "Go through a proxy: socks5h://HOST:PORT, http://…",
    "check": "Is the server there? Connect, wait a moment, end.",
    "wait": "Try again for so long.",
    "idle_timeout": "End when nothing moves for so long.",
    "quit_after": "After the end of standard input wait at most so long.",
    "listen": "Accept a client: PORT on loopback, *:PORT, unix:PATH.",
    "keep": "Then the next client, until a signal.",
    "tap": "Show what a client of ours and TARGET say, under TLS too.",
    "tls": "TLS from the first byte (on), or later (starttls).",
    "starttls": "STARTTLS of smtp imap pop3 ldap postgres mysql and others.",
    "sni": "Server name to send and to verify.",
    "cacert": "",
    "insecure": "",
    "script": "The lines of FILE as a session's.",
    "until": "End with 0 when what came matches.",
    "verbose": "Say what happens; -vv bytes, -vvv hexdump.",
    "hexdump": "Show all bytes in hexadecimal.",
    "log": "",
    "pcap": "Capture for Wireshark, with the keys of TLS.",
    "json": "Report at the end as one JSON object.",
    "help": "This; --help all: every option, statuses, environment.",
}
SHORT = """\
Examples:
  printf '\\r\\n' | cfcat gopher.floodgap.com:70
  cfcat --starttls smtp mail.example:587         a session: mail by hand
  cfcat -z --wait 60 db.example:5432             until it is there
  cfcat -l 2525 --starttls smtp                  be the server, by hand
  cfcat --tap 1587 mail.example:587              see what a client says

The manual has all: man cfcat.
"""


class GroupedHelp(TyperCommand):
    """The command whose --help this is."""

    _shows_all = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--help all` is everything; `--help` alone what most want."""
        self._shows_all = args[1:] == ["all"] and args[0] in ("-h", "--help")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line, written by hand: Typer would put both arguments in braces."""
        return ["[OPTIONS]", "TARGET", "[PORT]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then the options by group, in the order of their declaration."""
        from cfcat.protocols import PROFILES, PROTOCOLS  # lazy: --help only

        lists = {"{protocols}": PROTOCOLS, "{profiles}": [name for name in PROFILES if name != "none"]}
        group, groups = "Arguments", dict[str, list[tuple[str, str]]]()
        for param in self.get_params(ctx):
            group = GROUPS.get(param.name or "", group)
            name = param.name or ""
            shown = self._shows_all or name in MOST_WANTED
            if shown and (row := param.get_help_record(ctx)) is not None:
                flag, text = row
                if not self._shows_all:
                    text = MOST_WANTED[name] or text.partition(";")[0].rstrip(".") + "."
                for placeholder, names in lists.items():
                    text = text.replace(placeholder, " ".join(names))
                groups.setdefault(group, []).append((flag, text))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """What is asked next."""
        formatter.write("\n" + (MORE if self._shows_all else SHORT))
