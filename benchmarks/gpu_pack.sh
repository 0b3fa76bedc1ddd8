#!/usr/bin/env bash
# Fill benchmarks/pack, which benchmarks/gpu.sh takes along to a machine without network: benchmarks/gpu_pack.sh DATA [FOLDER]
# DATA is CIFAR-10 as --data names it (a folder of parquet files: ../data/cifar10/). Wheels: benchmarks/gpu_wheels.txt, for
# Python 3.12 on x86-64 Linux, at most 25 MiB; images: 6,400 + 1,600 as uint8. At most 50 MiB in all.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: benchmarks/gpu_pack.sh DATA [FOLDER]" >&2; exit 2; }
pack=${2:-benchmarks/pack} python=${PYTHON:-python3}

rm -rf "$pack/wheels"
mkdir -p "$pack/wheels"
platforms=()
for name in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do platforms+=(--platform "${name}_x86_64"); done
"$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp --python-version 3.12 \
  "${platforms[@]}" --dest "$pack/wheels" --requirement benchmarks/gpu_wheels.txt
"$python" -m benchmarks.gpu_pack "$1" "$pack"

bytes() { find "$1" -type f -printf '%s\n' | awk '{sum += $1} END {printf "%d", sum}'; }
wheels=$(bytes "$pack/wheels") whole=$(bytes "$pack")
awk -v w="$wheels" -v all="$whole" -v pack="$pack" \
  'BEGIN {printf "%s: %.1f MiB, wheels %.1f MiB\n", pack, all / 2^20, w / 2^20; exit !(w <= 25 * 2^20 && all <= 50 * 2^20)}' ||
  { echo "that is more than 50 MiB, or than 25 MiB of wheels: too much to take along" >&2; exit 1; }
