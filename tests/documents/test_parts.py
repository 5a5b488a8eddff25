"""Parts of documents that are made: where they are found, and what is made of a flag that is new."""

from __future__ import annotations

import pytest

from tests.documents import flags as all_flags
from tests.documents import manual
from tests.documents.flags import Flag, described
from tests.documents.parts import fill, wrap

pytestmark = pytest.mark.one_python

DOCUMENT = """\
by hand
  # made by python -m tests.documents: names
  old
    # made by python -m tests.documents: inner
    older
    # end of inner
  # end of names
by hand
"""


def flag(*names: str, kind: str = "", metavar: str = "", values: tuple[str, ...] = (), text: str = "Do it.") -> Flag:
    return Flag(names, (), metavar, kind, values, text, "Connection", False)


def test_a_part_is_made_between_its_marks_alone() -> None:
    """From what is there, without its indentation; a part in a part is made after it."""
    seen = []

    def make(old: str) -> str:
        seen.append(old)
        return old.replace("old\n", "new\n", 1)

    document = fill(DOCUMENT, {"names": make, "inner": lambda _: "newer\n"})
    assert document == DOCUMENT.replace("  old\n", "  new\n").replace("    older\n", "    newer\n")
    assert seen[0].startswith("old\n  # made by")


@pytest.mark.parametrize("document", ["", DOCUMENT.replace("end of inner", "end"), DOCUMENT * 2])
def test_a_part_without_its_marks_is_an_error(document: str) -> None:
    """A missing marker is an error; otherwise the part would silently become hand-written."""
    with pytest.raises(ValueError, match="the part 'inner' is there"):
        fill(document, {"inner": lambda _: ""})


def test_lines_are_wrapped_between_words_only() -> None:
    """A no-break space holds two of them together."""
    assert wrap("--a\xa0| --b\xa0| --c", width=9, indent="  ", end=" \\") == "--a | \\\n  --b | \\\n  --c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Use IPv4 addresses only.", "Use IPv4 addresses only"),
        ("Lowest TLS version.  [default: 1.2]", "Lowest TLS version"),
        ("Say what happens. Given twice more.", "Say what happens"),
        ("Run the dialog of PROTO, then begin: {protocols}", "Run the dialog of PROTO, then begin"),
        ("ALPN protocols to offer: h2,http/1.1", "ALPN protocols to offer: h2,http/1.1"),
    ],
)
def test_what_stands_beside_a_completion(text: str, expected: str) -> None:
    """The first sentence of the help, without a default or a list of names."""
    assert described(flag("-x", text=text)) == expected


def test_a_new_flag_gets_an_item_and_the_others_keep_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its help is the first draft; values and order are the flags'; what is written by hand below an item stays."""
    old = ".Ss Connection\nAll of them.\n.Bl -tag -width Ds\n.It Fl b\nBy hand.\n.It Fl -gone\nGone.\n.El\n"
    new = (
        flag("-b", "--both", kind="text", metavar="SECS"),
        flag("--how", kind="choice", values=("this", "that"), text="How to do it.  [default: this]"),
    )
    monkeypatch.setattr(manual, "flags", lambda: new)
    assert manual.MANUAL["options"](old) == (
        ".Ss Connection\nAll of them.\n.Bl -tag -width Ds\n.It Fl b Ar secs , Fl -both Ar secs\nBy hand.\n"
        ".It Fl -how Cm this | that\nHow to do it.\nThe default is this.\n.El\n"
    )


def test_flags_have_a_group_and_a_help() -> None:
    """Each of them: the documents show both."""
    for one in all_flags.flags():
        assert one.group
        assert described(one)
