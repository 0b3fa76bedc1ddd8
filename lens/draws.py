"""The name that `lens.base.draws` had in 0.3, for one version."""

import warnings

from lens.base.draws import *  # noqa: F403

warnings.warn("lens.draws is now lens.base.draws; the old name works for one version", FutureWarning, stacklevel=2)
