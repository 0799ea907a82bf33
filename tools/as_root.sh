# shellcheck shell=bash
# Sourced by the set-up scripts: install Debian packages where that is allowed.

# apt_install PACKAGE...: status 1, silently, when this user may not or there is no apt.
apt_install() {
  local run=()
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || return 1
    run=(sudo -n)
  fi
  echo "Installing with apt-get: $*" >&2
  # --no-install-recommends and no start of services: tests run a broker of their own.
  if ! "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
    --no-install-recommends install "$@" >/dev/null 2>&1; then
    "${run[@]}" apt-get -qq update >&2 || return 1
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
      --no-install-recommends install "$@" >&2 || return 1
  fi
}
