# Functions of cross/build and cross/test, which source this file: the names of a target, the folders, and
# the Rust and C compilers for it. `target_named` comes first. The sourcing script defines `say` and
# `fail`.

. tests/packages.sh

target_named() {
    case $1 in
        aarch64) target=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu debian=arm64 ;;
        armv7) target=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf debian=armhf ;;
        amd64) target=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu debian=amd64 ;;
        *) fail "unknown target \"$1\": use aarch64, armv7 or amd64" ;;
    esac
    cache=${GATEHOUSE_CACHE:-$HOME/.cache/gatehouse}
    # The folder is separate from builds for this machine, so that these need not wait.
    out=$(readlink -m "${CARGO_TARGET_DIR:-target}")/cross
    binary=$out/$target/release/gatehouse
    [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] \
        || fail "this script runs on Debian for amd64. On an ARM board run: cargo build --release --no-default-features --features h264"
}

room_for() { # room_for MB FOLDER
    local free
    mkdir -p "$2" || fail "cannot create $2"
    free=$(df --output=avail -m "$2" | tail -n 1)
    [ "$free" -ge "$1" ] \
        || fail "$2 has $((free)) MB free, and $1 MB are needed: free some space, or set CARGO_TARGET_DIR and GATEHOUSE_CACHE to folders on another disk"
}

# Runs apt with the machine's sources, but with separate folders. The machine's own apt stays unchanged.
private_apt() { # private_apt FOLDER COMMAND...
    local folder=$1 command=$2 options
    shift 2
    mkdir -p "$folder"/{lists/partial,archives/partial}
    options=(-qq -o APT::Sandbox::User=root -o "Dir::State::lists=$folder/lists" -o "Dir::Cache::archives=$folder/archives"
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64)
    # The mirror has no security index for armhf. Its failure would hide the other architectures' index.
    [ "$debian" = armhf ] || [ "$debian" = amd64 ] || options+=(-o "APT::Architectures::=$debian")
    "$command" "${options[@]}" "$@"
}

# Unpacks Debian's Rust with the standard library of the target. The machine's own cargo runs it.
debian_rust() {
    local root=$cache/debian-rust-$debian
    if [ ! -x "$root/rustc" ]; then
        local part=$root.part apt=$root.part/apt version packages std deb
        say "unpacking Debian's Rust into $root"
        rm -rf "$part"
        # apt reports an index that it could not get, and still exits with 0.
        private_apt "$apt" apt-get update >&2
        version=$(private_apt "$apt" apt-cache policy rustc-web | sed -n 's/^ *Candidate: //p')
        [ -n "$version" ] \
            || fail "apt's index has no rustc-web. Is there a network, and are /etc/apt/sources.list.d and its mirrors right?"
        dpkg --compare-versions "$version" ge "$RUST_NEEDED" \
            || fail "rustup has no $target, and Debian's rustc-web is $version, but $RUST_NEEDED or newer is needed. Run rustup target add $target, or add the -security suite to apt's sources"
        packages=("rustc-web=$version")
        std=libstd-rust-web-dev:$debian=$version
        # Debian's standard library for armhf is older, so it is built here with the program.
        [ "$debian" = armhf ] && packages+=("rust-web-src=$version") std=
        private_apt "$apt" apt-get --download-only --no-install-recommends -y install "${packages[@]}" >&2 \
            || fail "apt could not get ${packages[*]}: see its message above"
        [ -z "$std" ] || (cd "$apt/archives" && private_apt "$apt" apt-get download "$std" >&2) \
            || fail "apt could not get $std. Does its mirror have $debian?"
        for deb in "$apt"/archives/*.deb; do
            dpkg -x "$deb" "$part/host"
        done
        rm -r "$apt"
        cat >"$part/rustc" <<'WRAPPER'
#!/bin/sh
usr=$(dirname "$(readlink -f "$0")")/host/usr
LD_LIBRARY_PATH=$usr/lib/x86_64-linux-gnu:$usr/lib exec "$usr/bin/rustc" "$@"
WRAPPER
        chmod +x "$part/rustc"
        rm -rf "$root"
        mv "$part" "$root"
    fi
    export RUSTC=$root/rustc
    [ "$debian" = armhf ] || return 0
    export RUSTC_BOOTSTRAP=1
    flags+=(-Zbuild-std=std,panic_unwind)
}

# Finds the compilers, and sets `flags`, the arguments of cargo.
compilers() {
    RUST_NEEDED=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    command -v cargo >/dev/null \
        || fail "cargo is missing: install Rust ($RUST_NEEDED or newer) first, for instance with rustup."
    if [ "$debian" = amd64 ]; then
        need gcc command -v "$gnu-gcc"
        need g++ command -v "$gnu-g++"
        need libc6-dev test -e /usr/include/stdio.h
        # The code that nasm assembles decodes pictures about three times as fast.
        need nasm command -v nasm
    else
        need "gcc-$gnu" command -v "$gnu-gcc"
        need "g++-$gnu" command -v "$gnu-g++"
        need "libc6-dev-$debian-cross" test -e "/usr/$gnu/include/stdio.h"
    fi
    install_missing
    # Device builds have no demo and no broker.
    flags=(--release --locked --target "$target" --target-dir "$out"
        --no-default-features --features h264)
    if [ "${GATEHOUSE_RUST:-}" = debian ]; then
        debian_rust
    elif ! command -v rustup >/dev/null; then
        say "rustup is missing"
        debian_rust
    elif ! rustup target list --installed | grep -qx "$target" && ! rustup target add "$target" >&2; then
        say "rustup has no $target here"
        debian_rust
    fi
    cargo fetch --quiet --locked --target "$target" \
        || fail "cargo could not get the crates of Cargo.lock (see its message above). Is there a network?"

    # Without remapping, paths of this machine would change the bytes of the program.
    local remap=("$out=/target") rust='' c='' pair registry
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        remap+=("$registry=/crates")
    done
    for pair in "${remap[@]}"; do
        rust+=${rust:+$'\x1f'}--remap-path-prefix=$pair
        c+=" -ffile-prefix-map=$pair"
    done
    local name=${target//-/_}
    export CARGO_ENCODED_RUSTFLAGS=$rust
    export "CFLAGS_$name=$c" "CXXFLAGS_$name=$c"
    export "CARGO_TARGET_${name^^}_LINKER=$gnu-gcc"
    export CARGO_PROFILE_RELEASE_STRIP=symbols
    # The time in C code (__DATE__). It is the same for all commits, because a change rebuilds that code.
    export SOURCE_DATE_EPOCH=1795368802
}
