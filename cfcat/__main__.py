"""`cfcat` and `python -m cfcat`."""

import signal

# This comes first: from here on Ctrl-C ends the program by SIGINT's default action, without a traceback. Python's own
# handler raises KeyboardInterrupt, which can leave a lock held. If our parent ignored SIGINT, it stays ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line; returns the exit status."""
    from cfcat.program.start import run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
