"""What the manual says of flags and protocols: an item a flag in OPTIONS, and the lists of names.

Groups, order, names and values of the items are made; what is told below an item is written there by hand, and kept.
"""

from __future__ import annotations

import itertools
import re

from cfcat.protocols import PROTOCOLS, TABLE
from tests.documents.flags import Flag, flags, profiles
from tests.documents.parts import Parts, wrap

__all__ = ["MANUAL"]

WIDTH = 116


def _options(old: str) -> str:
    """Raises ValueError: an item in `old` has no name of a flag, or two have the same."""
    introductions = dict(re.findall(r"^\.Ss (.*)\n((?:(?!\.Bl ).*\n)*)\.Bl ", old, re.MULTILINE))
    bodies: dict[str, str] = {}
    for item in re.split(r"^\.It ", old, flags=re.MULTILINE)[1:]:
        head, _, body = item.partition("\n")
        name = _names(head)[-1]
        if name in bodies:
            raise ValueError(f"{name} has two items")
        bodies[name] = re.split(r"^\.El\n", body, flags=re.MULTILINE)[0]
    made = ""
    for group, members in itertools.groupby(flags(), key=lambda flag: flag.group):
        made += f".Ss {group}\n{introductions.get(group, '')}.Bl -tag -width Ds\n"
        for flag in members:
            known = (bodies[name] for name in (*flag.names, *flag.opposites) if name in bodies)
            made += f".It {_head(flag)}\n{next(known, None) or _draft(flag)}"
        made += ".El\n"
    return made


def _names(head: str) -> list[str]:
    names = ["-" + name for name in re.findall(r"Fl (-?[\w-]+)", head)]
    if not names:
        raise ValueError(f"no flag: {head}")
    return names


def _head(flag: Flag) -> str:
    if not flag.takes_value:
        value = ""
    elif flag.kind == "choice":
        value = f" Cm {' | '.join(flag.values)}"
    else:
        value = f" Ar {flag.metavar.lower()}"
    return " , ".join(f"Fl {name[1:]}{value}" for name in (*flag.names, *flag.opposites))


def _draft(flag: Flag) -> str:
    """For a flag of which nothing is written yet: its help."""
    text, _, default = flag.text.partition("  [default: ")
    sentence = "\n".join(f"{part.rstrip('.')}." for part in text.split(". "))
    return f"{sentence}\n" + (f"The default is {default.rstrip(']')}.\n" if default else "")


def _list(names: tuple[str, ...]) -> str:
    """`a , b`, `or` and `c`, in lines of mdoc."""
    *most, last = names
    lines = wrap("\xa0, ".join(most), width=WIDTH, begin=".Cm ", indent=".Cm ")
    return f"{lines}\nor\n.Cm {last} .\n"


def _protocols(_: str) -> str:
    rows = [".It Sy name Ta Sy protocol Ta Sy port Ta Sy ALPN Ta Sy specification"]
    for row in TABLE:
        alpn = row.alpn or "\\(en"
        rows.append(f".It Cm {row.name} Ta {row.title} Ta {row.port} Ta {alpn} Ta {row.reference}")
    widths = '.Bl -column "xmpp-server" "ManageSieve" "11211" "xmpp-server" "draft-altman-telnet-starttls"'
    return "\n".join((widths, *rows, ".El")) + "\n"


MANUAL: Parts = {
    "options": _options,
    "names of --starttls": lambda _: _list(tuple(PROTOCOLS)),
    "names of --proto": lambda _: _list(profiles()),
    "protocols": _protocols,
}
