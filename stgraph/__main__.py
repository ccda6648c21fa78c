"""Run the commands as ``python -m stgraph``."""

import sys

from stgraph.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
