#!/usr/bin/env bash
# Print the newest Python from 3.11 up that really starts; fail with one line when there is none.
set -eu

for name in python3.14 python3.13 python3.12 python3.11 python3; do
  # Version managers leave shims that exist but start nothing, hence the trial.
  if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$name"
    exit 0
  fi
done
echo "No Python 3.11 or newer found. Install one (Debian, Raspberry Pi OS: apt-get install python3)." >&2
exit 1
