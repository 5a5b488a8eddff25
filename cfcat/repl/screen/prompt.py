"""The line editor of a session, built from prompt_toolkit: one application, which runs from the beginning to the end.

It draws the unfinished row, the prompt with what is being typed, and the toolbar; what is above them is the screen's.
It asks the terminal nothing: a cursor position report that comes late would be taken for typed text.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from typing import Protocol

from prompt_toolkit.application import Application, in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, has_focus, is_done
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input.posix_utils import PosixStdinReader
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.key_binding.bindings.auto_suggest import load_auto_suggest_bindings
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    SearchBufferControl,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.layout.processors import (
    AppendAutoSuggestion,
    ConditionalProcessor,
    HighlightSelectionProcessor,
    PasswordProcessor,
    ReverseSearchProcessor,
)
from prompt_toolkit.lexers import SimpleLexer
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from cfcat.edges.terminal import TerminalQueue, size_of
from cfcat.repl.screen.paste import FoldProcessor, Folds
from cfcat.report.theme import LOOKS, Part

__all__ = ["LineEditor", "PromptOwner", "TerminalReader"]

STDIN = 0
READ_BYTES = 4096  # a terminal gives no more at once
MENU_ROWS = 8
# Below this there is room for the prompt alone.
TOOLBAR_ROWS, TOOLBAR_COLUMNS = 4, 20
UNFINISHED_ROWS = 2


class PromptOwner(Protocol):
    """What the editor asks, and whom it tells."""

    def unfinished(self) -> str:
        """The row above the prompt, with SGR sequences; "" for none."""

    def prompt(self) -> list[tuple[Part, str]]:
        """Looks and texts of the prompt."""

    def toolbar(self) -> str:
        """One line."""

    def completion_of(self, text: str) -> list[str]:
        """What the text before the cursor may become."""

    def entered(self, text: str, shown: str) -> bool:
        """Enter was pressed; a pasted text may have several lines. `shown`: with labels for what is long.

        Returns whether it may be remembered; `forget()` it if that turns out otherwise.
        """

    def hides_input(self) -> bool:
        """Must what is typed stay hidden?"""

    def end_typed(self) -> None:
        """Ctrl-D on an empty line."""

    def interrupt_typed(self) -> None:
        """Ctrl-C."""

    def escape_typed(self) -> None:
        """Ctrl-]."""

    def suspend_typed(self) -> None:
        """Ctrl-Z."""

    def before_drawing(self) -> str:
        """What is to be written above, now; it ends with a newline, or is ""."""


class LineEditor:
    """Reads lines from the terminal that is descriptor 0, and draws to the queue of the one that is descriptor 1."""

    def __init__(self, owner: PromptOwner, queue: TerminalQueue, *, history: Iterable[str], color: bool) -> None:
        self._owner = owner
        self._folds = Folds()
        self._put_aside: dict[str, str] = {}  # the pastes of a line that was taken away
        self._remembers = False
        self._history = _Remembered(list(history), lambda _: self._remembers)
        self._buffer = Buffer(
            multiline=False,
            history=self._history,
            completer=_Completer(owner),
            auto_suggest=AutoSuggestFromHistory(),
            accept_handler=self._accept,
        )
        self._output = _Output(
            queue,  # type: ignore[arg-type]  # write, flush and encoding are all that is asked for
            self._size,
            term=os.environ.get("TERM"),
            enable_cpr=False,
        )
        self.application: Application[None] = Application(
            layout=self._layout(),
            key_bindings=merge_key_bindings([load_auto_suggest_bindings(), self._bindings()]),
            style=_style(color),
            color_depth=ColorDepth.DEPTH_4_BIT if color else ColorDepth.DEPTH_1_BIT,
            erase_when_done=True,
            max_render_postpone_time=None,  # a burst from the peer keeps the loop busy: what was typed must not wait
            terminal_size_polling_interval=None,  # there is SIGWINCH
            before_render=lambda _: self._draw_above(),
            input=_TerminalInput(),
            output=self._output,
        )

    async def run(self) -> None:
        """Read and draw until cancelled; the terminal has its settings back then.

        Raises:
            EOFError: the terminal has hung up.
        """
        # Signals are the screen's, and so are exceptions: nobody is asked to press Enter.
        try:
            await self.application.run_async(handle_sigint=False, set_exception_handler=False)
        finally:
            self._stop_pasting()

    @property
    def is_running(self) -> bool:
        """Is it drawn?"""
        return self.application.is_running

    def begin(self, text: str) -> bool:
        """Type this at the beginning of an empty line. Returns whether the line was empty."""
        if self._buffer.text:
            return False
        self._buffer.insert_text(text)
        return True

    def redraw(self) -> None:
        """Draw soon what has changed."""
        self.application.invalidate()

    def take_terminal(self) -> None:
        """Set the terminal up and draw everything, in the row of the cursor: others have used the terminal."""
        self.application.input.raw_mode().__enter__()
        self.application.renderer.reset()
        self._output.write_raw("\r")
        self.application.invalidate()

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Take everything off the terminal; afterwards draw it where the cursor is then."""
        with set_app(self.application):
            async with in_terminal():
                self._stop_pasting()
                yield

    def _stop_pasting(self) -> None:
        """Turn bracketed paste off: the renderer has lost track of it where rows were drawn at the very end."""
        self._output.disable_bracketed_paste()
        self._output.flush()

    def clear(self) -> bool:
        """Drop what is in the line; False: there was nothing."""
        if not self._buffer.text:
            return False
        self._buffer.reset()
        return True

    def forget(self, line: str) -> None:
        """Take a line out of the history, and with it the block that it was pasted in."""
        self._history.forget(line)
        if not self._buffer.text:
            self._buffer.reset()  # it has looked at the history when the line began, and does so when it is drawn
            self.application.invalidate()

    def take_away(self) -> Document:
        """Begin an empty line; `put_back()` what was there before."""
        document, self._put_aside = self._buffer.document, self._folds.forget()
        self._buffer.reset()
        return document

    def put_back(self, document: Document) -> None:
        """Go on with a line that was taken away."""
        self._folds.recall(self._put_aside)
        self._buffer.reset(document)

    # ---- what is drawn

    def _size(self) -> Size:
        columns, rows = size_of(1)
        return Size(rows=rows, columns=columns)

    def _draw_above(self) -> None:
        text = self._owner.before_drawing()
        renderer = self.application.renderer
        shown = renderer.last_rendered_screen
        size = self._size()
        wanted = self.application.layout.container.preferred_height(size.columns, size.rows).preferred
        # The renderer never gives back room that it has used, such as that of a menu.
        if text or (shown is not None and shown.height > wanted):
            with self._output.pasting_safely():
                renderer.erase()
        if text:
            self._output.write_raw(text.replace("\n", "\r\n"))

    def _layout(self) -> Layout:
        search = SearchBufferControl(Buffer(), input_processors=[ReverseSearchProcessor()], ignore_case=True)
        hidden = Condition(self._owner.hides_input)
        control = BufferControl(
            self._buffer,
            search_buffer_control=search,
            preview_search=True,
            lexer=SimpleLexer("class:sent"),
            include_default_input_processors=False,
            input_processors=[
                FoldProcessor(self._folds),
                HighlightSelectionProcessor(),
                ConditionalProcessor(AppendAutoSuggestion(), has_focus(self._buffer) & ~is_done & ~hidden),
                ConditionalProcessor(PasswordProcessor(), hidden),
            ],
        )
        line = Window(control, get_line_prefix=self._prefix, wrap_lines=True, height=self._menu_room)
        searching = has_focus(search)
        unfinished = Window(
            FormattedTextControl(lambda: ANSI(self._owner.unfinished())), wrap_lines=True, dont_extend_height=True
        )
        toolbar = Window(FormattedTextControl(self._owner.toolbar), height=1, style="class:bottom-toolbar")
        body = HSplit(
            [
                ConditionalContainer(
                    unfinished, self._has_room(UNFINISHED_ROWS) & Condition(lambda: bool(self._owner.unfinished()))
                ),
                ConditionalContainer(line, ~searching),
                ConditionalContainer(Window(search, height=1), searching),
                ConditionalContainer(toolbar, self._has_room(TOOLBAR_ROWS, TOOLBAR_COLUMNS)),
            ]
        )
        menu = Float(CompletionsMenu(max_height=MENU_ROWS, scroll_offset=1), xcursor=True, ycursor=True)
        return Layout(FloatContainer(body, [menu]), line)

    def _has_room(self, rows: int, columns: int = 1) -> Condition:
        def has_room() -> bool:
            size = self._size()
            return size.rows >= rows and size.columns >= columns

        return Condition(has_room)

    def _menu_room(self) -> Dimension:
        room = min(MENU_ROWS, self._size().rows - 3)
        return Dimension(min=room) if self._buffer.complete_state is not None and room > 0 else Dimension()

    def _prefix(self, line: int, wrapped: int) -> StyleAndTextTuples:
        return [(f"class:{part}", text) for part, text in self._owner.prompt()] if line == 0 and wrapped == 0 else []

    # ---- what is typed

    def _accept(self, buffer: Buffer) -> bool:
        text, shown = self._folds.unfold(buffer.text), self._folds.show(buffer.text)
        self._folds.forget()
        # Only a paste has line ends in it. With one at its end it was whole: Enter adds no line.
        text, shown = text.removesuffix("\n"), shown.removesuffix("\n")
        self._remembers = self._owner.entered(text, shown) and text == shown
        return False

    def _bindings(self) -> KeyBindings:
        keys = KeyBindings()
        here = has_focus(self._buffer)
        empty = here & Condition(lambda: not self._buffer.text)

        @keys.add("c-c", filter=here)
        def interrupt(_: KeyPressEvent) -> None:
            self._owner.interrupt_typed()

        @keys.add("c-d", filter=empty)
        def end(_: KeyPressEvent) -> None:
            self._owner.end_typed()

        # At once: prompt_toolkit's own Ctrl-] waits for a character to search for, and would swallow it.
        @keys.add("c-]", filter=here, eager=True)
        def escape(_: KeyPressEvent) -> None:
            self._owner.escape_typed()

        @keys.add("c-z")
        def suspend(_: KeyPressEvent) -> None:
            self._owner.suspend_typed()

        @keys.add(Keys.BracketedPaste, filter=here)
        def paste(event: KeyPressEvent) -> None:
            text = event.data.replace("\r\n", "\n").replace("\r", "\n")
            self._buffer.insert_text(self._folds.fold(text))

        return keys


def _style(color: bool) -> Style:
    """The theme, under its own names and prompt_toolkit's; without colour a suggestion is told by a line below it."""
    if not color:
        return Style([("auto-suggestion", "underline")])
    looks = [(part, look.style) for part, look in LOOKS.items() if look.style]
    return Style([*looks, ("auto-suggestion", LOOKS["suggestion"].style)])


class _Output(Vt100_Output):
    """The terminal, with two differences for a prompt under which rows are drawn all the time."""

    _keep_pasting = False

    def get_rows_below_cursor_position(self) -> int:
        """Room that is certain to be there: the prompt's own row. prompt_toolkit would ask the terminal."""
        return 1

    @contextlib.contextmanager
    def pasting_safely(self) -> Iterator[None]:
        """Leave bracketed paste on: what is pasted while rows are drawn must not be taken for typed lines."""
        self._keep_pasting = True
        try:
            yield
        finally:
            self._keep_pasting = False

    def disable_bracketed_paste(self) -> None:
        """Turn it off when the prompt goes away."""
        if not self._keep_pasting:
            super().disable_bracketed_paste()


class _Remembered(History):
    """What was entered, oldest first; the buffer itself appends to it. `keeps`: may this be remembered?"""

    def __init__(self, lines: list[str], keeps: Callable[[str], bool]) -> None:
        super().__init__()
        self._lines = lines
        self._keeps = keeps

    async def load(self) -> AsyncGenerator[str, None]:
        """As in `History`: the newest first."""
        for line in reversed(self._lines):
            yield line

    def get_strings(self) -> list[str]:
        """As in `History`."""
        return self._lines

    def append_string(self, string: str) -> None:
        """As in `History`."""
        if self._keeps(string) and self._lines[-1:] != [string]:
            self._lines.append(string)

    def forget(self, line: str) -> None:
        self._lines[:] = [other for other in self._lines if line not in other.split("\n")]

    def load_history_strings(self) -> Iterable[str]:
        """As in `History`: there is no other place."""
        return ()

    def store_string(self, string: str) -> None:
        """As in `History`: there is no other place."""


class _Completer(Completer):
    def __init__(self, owner: PromptOwner) -> None:
        self._owner = owner

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        typed = document.current_line_before_cursor
        for line in self._owner.completion_of(typed):
            yield Completion(line, start_position=-len(typed))


class _TerminalInput(Vt100Input):
    """The terminal as it is: bytes that are no UTF-8 come as surrogates, in every locale."""

    def __init__(self) -> None:
        super().__init__(sys.stdin)
        self.stdin_reader = TerminalReader(STDIN)

    def read_keys(self) -> list[KeyPress]:
        """What was typed. A Tab with characters behind it was pasted: a person waits to see what it does."""
        keys = super().read_keys()
        last = max((at for at, key in enumerate(keys) if len(key.key) == 1), default=-1)
        return [KeyPress("\t") if key.key == Keys.Tab and at < last else key for at, key in enumerate(keys)]


class TerminalReader(PosixStdinReader):
    """What is typed. prompt_toolkit's own takes a read that fails (EIO) for one without news, and asks for ever."""

    def read(self, count: int = READ_BYTES) -> str:
        """What was typed; "" where nothing was, or no more will be: then `closed` is set."""
        if self.closed or not select.select([self.stdin_fd], [], [], 0)[0]:
            return ""
        try:
            data = os.read(self.stdin_fd, count)
        except (BlockingIOError, InterruptedError):
            return ""
        except OSError:
            data = b""
        self.closed = not data
        return self._stdin_decoder.decode(data)
