"""The command `pellucid`, also as `python -m pellucid`: signals are answered before the rest, which takes a while."""

from __future__ import annotations

import sys

from pellucid.base.signals import answer_signals, exit_code


def main() -> None:
    """The entry point."""
    answer_signals()
    try:
        from pellucid.cli import main as run
    except KeyboardInterrupt as error:
        sys.exit(exit_code(error))
    run()


if __name__ == "__main__":
    main()
