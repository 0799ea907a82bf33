#!/usr/bin/env bash
# Build the app into dashboard/dist, unless it is newer than everything it is made of.
# With `--check` also lint it, check its types and run its unit tests.
set -eu
cd "$(dirname "$0")/.."
tools/need_node.sh
cd dashboard

newer() { [ -n "$(find "$@" -newer "$stamp" -print -quit 2>/dev/null)" ]; }
sources="src public index.html package-lock.json vite.config.ts tsconfig.json tsconfig.tools.json"

stamp=node_modules/.installed
if ! [ -f "$stamp" ] || newer package-lock.json; then
  echo "Installing the app's packages (npm ci)" >&2
  npm ci --no-audit --no-fund --loglevel=error
  touch "$stamp"
fi

stamp=dist/.built
# shellcheck disable=SC2086 # a list of paths
if ! [ -f "$stamp" ] || newer $sources; then
  npm run --silent build -- --logLevel warn
  touch "$stamp"
fi

[ "${1:-}" = --check ] || exit 0
stamp=node_modules/.checked
# shellcheck disable=SC2086 # as above
if ! [ -f "$stamp" ] || newer $sources tests eslint.config.js; then
  npm run --silent lint
  npm run --silent types
  npm run --silent test
  touch "$stamp"
fi
echo "app: linted, typed and tested"
