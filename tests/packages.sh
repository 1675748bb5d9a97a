# Sourced by tests/run and cross/*: installs missing Debian packages, as root or with sudo. The
# calling script defines `fail` and `say`.

# Debian keeps servers out of the PATH of a user.
export PATH="$PATH:/usr/sbin"

missing=()
need() { # need PACKAGE COMMAND...: requests the package, unless the command succeeds
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null \
        || fail "there is no apt-get; install ${missing[*]}, and run this again"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null \
            || fail "there is no sudo; run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq \
        || fail "apt has no index of packages. Is there a network, and are /etc/apt/sources.list.d and its mirrors right?"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 \
        || fail "apt could not install ${missing[*]}: see its message above"
    # Debian starts a newly installed server. The tests start their own, on their own ports.
    if [[ " ${missing[*]} " == *" mosquitto "* ]] && [ -d /run/systemd/system ]; then
        "${as_root[@]}" systemctl disable --now --quiet mosquitto >&2 \
            || say "stop the service mosquitto, which was just installed; the tests do not use it"
    fi
    missing=()
}
