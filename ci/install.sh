#!/usr/bin/env bash
# Installs the harness of a checkout into a virtual environment beside it: ci/install.sh CHECKOUT [PYTHON].
# What is there already is used as it is.
set -euo pipefail
checkout=$1
python=${2:-python3}
[ -x "$checkout/.venv/bin/roadmap-harness" ] || make --no-print-directory -C "$checkout" install PYTHON="$python"
