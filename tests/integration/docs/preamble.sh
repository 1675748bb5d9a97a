# Sourced before the blocks of a session.

# ---- Stand-ins for programs ---------------------------------------------------------------------

# The program under test. A build in a clean clone takes many minutes; `.ci/run` does that.
cargo() {
    [ "$1 $2 $3" = "run --release --" ] || { echo "cargo $* is not known here"; return 2; }
    gatehouse "${@:4}"
}

# A session changes only its own files, which needs no rights.
sudo() { "$@"; }

# Stands for an editor in which a person types a password.
editor() { echo secret >"$1"; }

# systemctl stop|start|restart gatehouse, for a device whose files belong to the session. It passes
# the secrets and makes the data folder as systemd/gatehouse.service does.
systemctl() {
    [ "${2-}" = gatehouse ] || { echo "systemctl $* is not known here"; return 2; }
    case $1 in
        stop)
            kill "$service"
            wait "$service"
            service=''
            ;;
        start)
            local secret credentials=$DEVICE/credentials
            rm -rf "$credentials"
            mkdir -p -m 0700 "$credentials" "$DEVICE/var/lib/gatehouse"
            for secret in "$DEVICE"/etc/gatehouse/secrets/*; do
                [ ! -e "$secret" ] || cp "$secret" "$credentials/secret_${secret##*/}"
            done
            CREDENTIALS_DIRECTORY=$credentials gatehouse run 2>>daemon.log &
            service=$!
            until gatehouse status >/dev/null 2>&1; do
                kill -0 "$service" 2>/dev/null || { cat daemon.log; return 1; }
                sleep 0.1
            done
            ;;
        restart)
            systemctl stop gatehouse
            systemctl start gatehouse
            ;;
        *) return 2 ;;
    esac
}
service=''

# ---- Functions between blocks -------------------------------------------------------------------

# The output file of the block in the background, and its process group.
background='' job=''

# stays N TEXT: keeps block N, just started, in the background. Returns when it has printed TEXT.
stays() {
    background=out.$1 job=$!
    await "$2"
}

# await TEXT: waits until the block in the background has printed TEXT.
await() {
    timeout 120 grep -qF -m 1 -- "$1" < <(exec tail -n +1 -f --pid="$job" "$background") \
        || { echo "\"$1\" was not printed in the background:"; cat "$background"; exit 1; }
}

# Prints the seq of an attendance record by face; waits for the first one.
a_record() {
    local seq=''
    until [ -n "$seq" ]; do
        seq=$(gatehouse --json attendance list \
            | sed -n 's/.*"seq":\([0-9]*\),.*"means":"face".*/\1/p' | tail -n 1)
        [ -n "$seq" ] || sleep 0.1
    done
    echo "$seq"
}

# in_gatehouse_toml KEY = VALUE: switches on a key of config/gatehouse.toml, as its head explains.
in_gatehouse_toml() {
    grep -q "^#$1 = " "$GATEHOUSE_CONFIG"
    sed -i "s|^#$1 = .*|$1 = \"$3\"|" "$GATEHOUSE_CONFIG"
}

ended() {
    local code=$?
    # A block's output is redirected, also when it ends here.
    [ "$code" -eq 0 ] || echo "ended within $begun" >&3
    # Stops it as Ctrl-C does.
    [ -z "$job" ] || { kill -INT -- "-$job" && wait "$job"; } || true
    [ -z "$service" ] || { kill "$service" && wait "$service"; } || true
}
begun=0
exec 3>&1
trap ended EXIT
