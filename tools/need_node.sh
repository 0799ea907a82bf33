#!/usr/bin/env bash
# Make sure that Node.js and npm are there: they build the app that people see.
set -eu
cd "$(dirname "$0")/.."
. tools/as_root.sh

recent() { command -v npm >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge 20 ]; }

recent && exit 0
apt_install nodejs npm && recent && exit 0
echo "The app is built with Node.js 20 or newer and npm. Install them first: https://nodejs.org" >&2
exit 1
