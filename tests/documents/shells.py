"""What the three completion files say of flags and ports."""

from __future__ import annotations

from collections.abc import Iterable

from tests.documents.flags import Flag, described, flags, ports
from tests.documents.parts import Parts, wrap

__all__ = ["BASH", "FISH", "ZSH"]

WIDTH = 100
# zsh does not offer what makes no sense beside what is there already. By the first name of a flag: the other ones;
# "- *" is everything else.
NOT_WITH = {
    "-4": "-6",
    "-6": "-4",
    "--shutdown": "--no-shutdown",
    "--no-shutdown": "--shutdown",
    "--tls": "--starttls",
    "--starttls": "--tls",
    "-k": "--cacert",
    "--cacert": "-k --insecure",
    "--repl": "--pipe",
    "--pipe": "--repl",
    "--from": "- *",
    "-V": "- *",
    "-h": "- *",
}


def _all_names() -> list[str]:
    return [name for flag in flags() for name in (*flag.names, *flag.opposites)]


def _valued() -> list[str]:
    return [name for flag in flags() if flag.takes_value for name in flag.names]


def _ports() -> str:
    return " ".join(map(str, ports()))


# ---------------------------------------------------------------------------------------------------- bash

BASH_ACTIONS = {"file": "_filedir", "host": '_known_hosts_real -- "$cur"', "text": ""}


def _bash_values(_: str) -> str:
    made = ""
    for flag in flags():
        if flag.values:
            made += _bash_case(flag.names, _bash_words(flag.values, indent=" " * 8))
    for kind, action in BASH_ACTIONS.items():
        names = [name for flag in flags() if flag.kind == kind for name in flag.names]
        made += _bash_case(tuple(names), action)
    return made


def _bash_words(words: Iterable[str], indent: str = " " * 4) -> str:
    begin = "COMPREPLY=($(compgen -W '"
    return wrap(" ".join(words), width=WIDTH, begin=begin, indent=indent) + '\' -- "$cur"))'


def _bash_case(names: tuple[str, ...], action: str) -> str:
    action = f"    {action}\n" if action else ""
    return f"{' | '.join(names)})\n{action}    return\n    ;;\n"


def _bash_options(_: str) -> str:
    return _bash_words(_all_names()) + "\n"


def _bash_valued(_: str) -> str:
    return wrap("\xa0| ".join(_valued()), width=WIDTH, indent="    ", end=" \\") + ")\n    ((number++))\n    ;;\n"


def _bash_ports(_: str) -> str:
    return wrap(_ports(), width=WIDTH, begin="local ports='", indent="    ") + "'\n"


BASH: Parts = {
    "ports": _bash_ports,
    "values": _bash_values,
    "options": _bash_options,
    "options with a value": _bash_valued,
}

# ----------------------------------------------------------------------------------------------------- zsh

ZSH_ACTIONS = {"file": "_files", "host": "_hosts"}


def _zsh_options(_: str) -> str:
    lines = []
    for flag in flags():
        lines.append(_zsh_spec(flag, flag.names, flag.opposites, described(flag)))
        if flag.opposites:
            lines.append(_zsh_spec(flag, flag.opposites, flag.names, f"The opposite of {flag.names[-1]}"))
    return "\n".join(lines) + "\n"


def _zsh_spec(flag: Flag, names: tuple[str, ...], others: tuple[str, ...], text: str) -> str:
    marked = [name + ("=" if name.startswith("--") else "+") if flag.takes_value else name for name in names]
    excluded = NOT_WITH.get(names[0], " ".join(others))
    if excluded != "- *" and len(names) > 1 and not flag.repeatable:
        excluded = " ".join((*names, *excluded.split()))
    before = "*" if flag.repeatable else f"({excluded})" if excluded else ""
    if len(names) > 1:
        begin = f"'{before}'{{{','.join(marked)}}}'"
    else:
        begin = f"'{before}{marked[0]}"
    text = (text if text[1:2].isupper() else text[:1].lower() + text[1:]).replace("[", "\\[").replace("]", "\\]")
    return f"{begin}[{_quoted(text, chr(39) + chr(92) + chr(39) * 2)}]{_zsh_value(flag)}'"


def _zsh_value(flag: Flag) -> str:
    if not flag.takes_value:
        return ""
    message = flag.metavar.lower() or flag.names[-1].lstrip("-")
    action = f"({' '.join(flag.values)})" if flag.values else ZSH_ACTIONS.get(flag.kind, "")
    return f":{message}:{action}" if action else f":{message}"


def _zsh_ports(_: str) -> str:
    return wrap(_ports(), width=WIDTH) + "\n"


def _quoted(text: str, quote: str) -> str:
    """For single quotes, in which this stands for one."""
    return text.replace("'", quote)


ZSH: Parts = {"ports": _zsh_ports, "options": _zsh_options}

# ---------------------------------------------------------------------------------------------------- fish

FISH_ACTIONS = {"file": " -r -F", "host": " -x -a '(__fish_print_hostnames)'", "text": " -x", "": ""}


def _fish_options(_: str) -> str:
    made = group = ""
    for flag in flags():
        made += "\n" if group and flag.group != group else ""
        group = flag.group
        action = f" -x -a '{' '.join(flag.values)}'" if flag.values else FISH_ACTIONS[flag.kind]
        made += _fish_row(flag.names, action, described(flag))
        if flag.opposites:
            made += _fish_row(flag.opposites, action, f"The opposite of {flag.names[-1]}")
    return made


def _fish_row(names: tuple[str, ...], action: str, text: str) -> str:
    spelled = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in names)
    return f"complete -c cfcat{spelled}{action} -d '{_quoted(text, chr(92) + chr(39))}'\n"


def _fish_valued(_: str) -> str:
    return _fish_list("valued", " ".join(_valued()))


def _fish_ports(_: str) -> str:
    return _fish_list("ports", _ports())


def _fish_list(name: str, words: str) -> str:
    return wrap(words, width=WIDTH, begin=f"set -l {name} ", indent="    ", end=" \\") + "\n"


FISH: Parts = {"options with a value": _fish_valued, "ports": _fish_ports, "options": _fish_options}
