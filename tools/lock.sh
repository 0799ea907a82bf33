#!/usr/bin/env bash
# lock.sh PYTHON: write constraints.txt, the newest set of versions that pyproject.toml allows.
set -eu
cd "$(dirname "$0")/.."

python=$1
venv=.venv-lock
trap 'rm -rf "$venv"' EXIT

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip --disable-pip-version-check install --quiet --editable '.[dev,data,kit,cloud]'
{
  echo "# One exact set of versions that pyproject.toml allows and the tests passed with."
  echo "# Written by \`make lock\` ($("$venv/bin/python" --version)); not edited by hand."
  "$venv/bin/python" -m pip --disable-pip-version-check freeze --exclude-editable
} >"$venv/constraints.txt"
if grep -nE '@|://|^-' "$venv/constraints.txt"; then
  echo "constraints.txt would hold the lines above, which name a place and not a version." >&2
  exit 1
fi
mv "$venv/constraints.txt" constraints.txt
echo "constraints.txt: $(grep -c == constraints.txt) packages"
