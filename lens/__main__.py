"""`python -m lens VERB …` is the console script `lens VERB …`."""

import sys

from lens.cli import main

sys.exit(main())
