"""`cfcat` and `python -m cfcat`."""

import gc
import signal

# This comes first: from here on Ctrl-C ends the program by SIGINT's default action, without a traceback. Python's own
# handler raises KeyboardInterrupt, which can leave a lock held. If our parent ignored SIGINT, it stays ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# A start makes some 20,000 objects, and none is garbage. By default (700) Python would look through them thirty times,
# a tenth of the whole start.
gc.set_threshold(10_000)


def main() -> int:
    """Run the command line; returns the exit status."""
    from cfcat.program.start import run

    try:
        return run()
    finally:
        gc.freeze()  # or Python looks through all of them once more before it exits


if __name__ == "__main__":
    raise SystemExit(main())
