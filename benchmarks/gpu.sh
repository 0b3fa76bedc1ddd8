#!/usr/bin/env bash
# The checks that need a GPU, in at most 12 minutes and without network: benchmarks/gpu.sh [PART …] [--dry]
# (python -m benchmarks.gpu --help says which parts there are). Before the first one it installs, into a folder of its own
# that goes when it ends, those wheels of benchmarks/pack/wheels whose package is not there: what is there stays as it is.
# OUT names the folder of the figures (runs/gpu), PACK that of the wheels and images, PYTHON the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
pack=${PACK:-benchmarks/pack} python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT

if compgen -G "$pack/wheels/*.whl" >/dev/null; then
  missing=$("$python" - "$pack"/wheels/*.whl <<'EOF'
import sys
from importlib import metadata
from pathlib import Path

for wheel in sys.argv[1:]:
    try:
        metadata.version(Path(wheel).name.split("-")[0])
    except metadata.PackageNotFoundError:
        print(wheel)
EOF
  )
  if [ -n "$missing" ]; then
    mapfile -t wheels <<<"$missing"
    echo "installing ${#wheels[@]} wheels of $pack for this call" >&2
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
      --target "$site" "${wheels[@]}"
  fi
fi
PYTHONPATH="$site:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 \
  "$python" -m benchmarks.gpu --pack "$pack" --out "${OUT:-runs/gpu}" "$@"
