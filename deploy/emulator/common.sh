# shellcheck shell=bash
# What `prepare` and `prepare-machine` share; to be sourced.

say() { printf 'emulator: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# install_packages COMMAND=PACKAGE...: Debian's package for each command that is missing
install_packages() {
    local pair missing=()
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local advice="apt-get install --no-install-recommends ${missing[*]}"
    [ "$(id -u)" -eq 0 ] || fail "needs packages: sudo $advice"
    command -v apt-get >/dev/null || fail "needs a Debian or Ubuntu host, or these by other means: ${missing[*]}"
    say "$advice"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# enter_folder FOLDER: makes it, sets `folder` to its absolute path and keeps other runs out until this one ends
enter_folder() {
    mkdir -p "$1"
    folder=$(cd "$1" && pwd)
    exec 9>"$folder/.lock"
    flock 9
}

# current STAMP TEXT: whether a step was done with this text as its input
current() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }
