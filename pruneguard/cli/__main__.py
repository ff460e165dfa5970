"""`python -m pruneguard.cli`, where no script was installed."""

import sys

from pruneguard.cli import main

sys.exit(main())
