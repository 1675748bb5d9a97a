# Sourced by tests/run and cross/*: Debian packages that are missing are installed, as root or with
# sudo. The one who sources it has `fail` and `say`.

# Debian keeps servers out of a user's PATH.
export PATH="$PATH:/usr/sbin"

missing=()
need() { # need PACKAGE COMMAND...: the package, unless the command succeeds
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null \
        || fail "please install what is missing here, and run this again: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null \
            || fail "as root, please run: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq \
        || fail "apt has no index of packages. Is there a network, and are /etc/apt/sources.list.d and its mirrors right?"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 \
        || fail "apt could not install ${missing[*]}: see its words above"
    # Debian starts a server that it installs. The tests have their own, on ports of their own.
    if [[ " ${missing[*]} " == *" mosquitto "* ]] && [ -d /run/systemd/system ]; then
        "${as_root[@]}" systemctl disable --now --quiet mosquitto >&2 \
            || say "please stop mosquitto, which was just installed: the tests do not use its service"
    fi
    missing=()
}
