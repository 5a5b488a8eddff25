"""What Tab makes of the text for the peer: the verbs of its protocol, in the case that was begun. Pure."""

from __future__ import annotations

from cfcat.protocols.table import PROFILES

__all__ = ["completions"]


def completions(profile: str | None, text: str) -> list[str]:
    """What the text before the cursor may become: whole lines that begin with it, in the order of the profile.

    The typed text is kept unchanged. In IMAP a tag may stand before the verb.
    """
    verbs = PROFILES[profile or "none"]
    tag, verb = _split_tag(text, verbs) if profile == "imap" else ("", text)
    begun = verb.lower()
    found = (candidate for candidate in verbs if candidate.lower().startswith(begun) and len(candidate) > len(verb))
    return [tag + verb + _rest(candidate, verb) for candidate in found]


def _split_tag(text: str, verbs: tuple[str, ...]) -> tuple[str, str]:
    """`a1 LOG` is a tag with its blank, and what may become a verb; `UID F` is all verb."""
    word, blank, rest = text.partition(" ")
    known = {verb.partition(" ")[0] for verb in verbs}
    return (word + blank, rest) if word and blank and word.upper() not in known else ("", text)


def _rest(verb: str, typed: str) -> str:
    """What is missing of a verb, in the case of the last letter typed; names such as `Content-Type` have their own."""
    rest = verb[len(typed) :]
    letters = [character for character in typed if character.isalpha()]
    if not letters:
        return rest
    if letters[-1].islower():
        return rest.lower()
    return rest.upper() if verb.islower() else rest
