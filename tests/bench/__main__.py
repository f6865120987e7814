"""`make bench`: the speed of this machine."""

import sys

from bench.measures import main

sys.exit(main())
