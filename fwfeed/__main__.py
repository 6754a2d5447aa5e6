"""`python -m fwfeed`: the fwfeed command."""

import sys

from fwfeed.cli import main

if __name__ == "__main__":
    sys.exit(main())
