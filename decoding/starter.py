"""`python -m decoding.starter`: the starter model, prepared ahead of a lesson. `decoding.models.starter` does it."""

import sys

from decoding.models.starter import main

if __name__ == "__main__":
    sys.exit(main())
