"""`python -m pipeline COMMAND` is `audioedit COMMAND`."""

import sys

from pipeline.cli import main

sys.exit(main())
