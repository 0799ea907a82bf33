#!/usr/bin/env bash
# Make sure that Chromium is there: the tests of the app run in a real browser.
set -eu
cd "$(dirname "$0")/.."
. tools/as_root.sh

found() { command -v chromium >/dev/null; }

# Where it cannot be installed the tests say so and are skipped.
found || apt_install chromium || true
command -v certutil >/dev/null || apt_install libnss3-tools || true
