"""What --help shows: the options in their groups, and the sections after them: examples, statuses, environment.

Typer itself has groups only with rich, which draws boxes and takes 60 ms to load. A help text may have `{protocols}`
and `{profiles}` in it, which are the names of --starttls and --proto from the table of protocols. The other texts here
are kept in step with code, manual and README by tests/test_documented.py.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

__all__ = ["GroupedHelp"]

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

The manual has the rest: man cfcat.
"""


class GroupedHelp(TyperCommand):
    """The command whose --help this is."""

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
            if (row := param.get_help_record(ctx)) is not None:
                flag, text = row
                for placeholder, names in lists.items():
                    text = text.replace(placeholder, " ".join(names))
                groups.setdefault(group, []).append((flag, text))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """What is asked next."""
        formatter.write("\n" + MORE)
