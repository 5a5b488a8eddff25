"""`cfcat` and `python -m cfcat`."""

import signal

# First of all: from here on Ctrl-C ends the program by the signal, wherever it is, without a traceback. Python's own
# handler raises KeyboardInterrupt, which can leave a lock held; one that was ignored by our parent stays ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line; returns the exit status."""
    from cfcat.program.start import run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
