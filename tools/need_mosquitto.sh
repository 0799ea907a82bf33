#!/usr/bin/env bash
# Make sure that mosquitto, strace and faketime are there: tests and benches start their own.
set -eu
cd "$(dirname "$0")/.."
. tools/as_root.sh

# Debian keeps it where an ordinary user's PATH does not look.
found() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v mosquitto >/dev/null; }

# For the tests of bad disks and wrong clocks, which say so when they are skipped without them.
{ command -v strace && command -v faketime; } >/dev/null || apt_install strace faketime || true

found && exit 0
# A machine that only tests needs no broker running as a service.
apt_install mosquitto && found && exit 0
echo "mosquitto is missing, and the tests run against it. Install it first: apt-get install mosquitto" >&2
exit 1
