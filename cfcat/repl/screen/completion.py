"""What Tab makes of the text before the cursor: commands, their arguments, or the protocol's verbs. Looks at files."""

from __future__ import annotations

import os

from cfcat.core.choices import SECURE_TRANSPORTS
from cfcat.protocols.verbs import completions
from cfcat.repl.commands import COMMANDS, Command
from cfcat.repl.settings import SETTINGS
from cfcat.report.render import is_visible

__all__ = ["candidates"]


def candidates(text: str, protocol: str | None, target: str) -> list[str]:
    """The lines that `text` may become; each begins with it.

    `protocol`: whose verbs count. `target`: what `:open` may be given.
    """
    if not text.startswith(":"):
        return completions(protocol, text)
    name, blank, argument = text[1:].partition(" ")
    if not blank:
        return [f":{other}" for other in COMMANDS if other.startswith(name)]
    if name not in COMMANDS:
        return []
    done, last = _split(argument, COMMANDS[name])
    words = _words(COMMANDS[name], done.split(), last, target)
    return [f":{name} {done}{word}" for word in words if word.startswith(last)]


def _split(argument: str, command: Command) -> tuple[str, str]:
    """What is settled of an argument, and the word that is not."""
    if command.arguments == "file":
        option = "-m " if command.name == "file" and argument.startswith("-m ") else ""
        return option, argument.removeprefix(option)  # blanks are part of its name
    done, blank, last = argument.rpartition(" ")
    return done + blank, last


def _words(command: Command, before: list[str], last: str, target: str) -> list[str]:
    """What may stand behind these words."""
    match command.arguments:
        case "file":
            return _files(last)
        case "setting":
            return list(SETTINGS if not before else SETTINGS.get(before[0], ()) if len(before) == 1 else ())
        case "target":
            return list(SECURE_TRANSPORTS) if before[-1:] == ["--tls"] else [target, "--tls"]
        case "command":
            return [] if before else list(COMMANDS)
        case words:
            return [] if before else list(words)


def _files(path: str) -> list[str]:
    """Files and folders, a folder with its slash; hidden ones if asked for.

    Not those whose names cannot be shown as they are: one might begin another command (SEC-R27).
    """
    folder, name = os.path.split(path)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            shown = [entry for entry in entries if entry.name.startswith(name) and is_visible(entry.name)]
            found = [entry.name + "/" * entry.is_dir() for entry in shown]
    except OSError:
        return []
    return [path.removesuffix(name) + entry for entry in sorted(found) if name or not entry.startswith(".")]
