"""The name that `lens.base.files` had in 0.3, for one version."""

import warnings

from lens.base.files import *  # noqa: F403

warnings.warn("lens.files is now lens.base.files; the old name works for one version", FutureWarning, stacklevel=2)
