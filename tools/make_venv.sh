#!/usr/bin/env bash
# make_venv.sh PYTHON VENV: create the virtual environment and install the project into it.
set -eu
cd "$(dirname "$0")/.."
. tools/as_root.sh

python=$1
venv=$2
[ -n "$python" ] || exit 1 # find_python.sh has said why

if ! [ -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian packs these apart from Python itself.
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if ! apt_install "$package"; then
      echo "$python cannot create virtual environments. Install: apt-get install $package" >&2
      exit 1
    fi
  fi
  echo "Creating $venv with $("$python" --version)" >&2
  "$python" -m venv --clear "$venv"
fi

echo "Installing Wattwarden and its packages into $venv (a few minutes the first time)" >&2
"$venv/bin/python" -m pip --disable-pip-version-check install --quiet \
  --constraint constraints.txt --editable '.[dev,data,kit,cloud]'
