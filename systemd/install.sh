#!/bin/sh
# install.sh [OPTIONS]: install the gateway from the folder this file lies in. The options are those
# of `wattwarden install`, such as --yes. With all wheels beside it (`make wheelhouse`) it needs no
# network but for Debian's own packages; with the program's wheel alone it asks the package index.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

if [ "$(id -u)" -ne 0 ] && [ -z "${DESTDIR:-}" ]; then
  echo "install.sh: this changes the system, which needs root: sudo $0 $*" >&2
  exit 1
fi
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  apt-get -q -y --no-install-recommends install python3-venv ||
    { apt-get -q update && apt-get -q -y --no-install-recommends install python3-venv; }
fi

# A small environment that only runs the installer, gone afterwards.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work"
if ls "$here"/pydantic-*.whl >/dev/null 2>&1; then
  set -- --wheelhouse "$here" "$@"
  from="--no-index --find-links $here"
else
  set -- --wheel "$(ls -t "$here"/wattwarden-*.whl | head -n 1)" "$@"
  from=
fi
pip="$work/bin/pip --disable-pip-version-check --quiet install"
# shellcheck disable=SC2086 # options, in words
$pip $from click cryptography pydantic rich tzdata
$pip --no-deps "$(ls -t "$here"/wattwarden-*.whl | head -n 1)"
"$work/bin/wattwarden" install "$@"
