"""`python -m corrpo` is `corrpo`; so `torchrun -m corrpo measure ...` starts it in several processes."""

import sys

from corrpo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
