#!/usr/bin/env bash
# make_wheelhouse.sh PYTHON FOLDER: put the program's wheel and those of all it needs into a folder,
# from which `wattwarden install --wheelhouse FOLDER` works without a network. WHEEL_ONLY=1 builds
# only our own. Run it on a machine like the target (same Debian, same processor).
set -eu
cd "$(dirname "$0")/.."

python=$1
folder=$2
# pip of its own: Debian keeps the system's from installing anything.
tools=build/wheel-tools
[ -x "$tools/bin/pip" ] || "$python" -m venv "$tools"
pip() { "$tools/bin/pip" --disable-pip-version-check "$@"; }
mkdir -p "$folder"
rm -f "$folder"/wattwarden-*.whl
pip wheel --quiet --no-deps --wheel-dir "$folder" .
install -m 0755 systemd/install.sh "$folder/"
[ -n "${WHEEL_ONLY:-}" ] && exit 0
wheel=$(echo "$folder"/wattwarden-*.whl)
# Source distributions are built now: the target may have no compiler.
pip wheel --quiet --constraint constraints.txt \
  --find-links "$folder" --wheel-dir "$folder" "${wheel}[${EXTRAS:-kit}]"
