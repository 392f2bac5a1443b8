"""`python -m les_md.datasets` is the program `les-data`."""

import sys

from les_md.datasets.program import main

sys.exit(main())
