"""`python -m les_md.pretrained_models` is the program `les-models`."""

import sys

from les_md.pretrained_models.program import main

sys.exit(main())
