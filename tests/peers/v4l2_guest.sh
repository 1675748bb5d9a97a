#!/bin/busybox sh
# What tests/v4l2-qemu runs as the only process of its virtual machine. It says on the console what
# it sees, and at last PASSED or FAILED.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
echo "root:x:0:0:root:/:/bin/sh" >/etc/passwd
echo "root:x:0:" >/etc/group
ip link set lo up

end() {
    echo "$1"
    [ "$1" = PASSED ] || { echo "--- the logs"; tail -n 40 /tmp/log; dmesg | tail -n 20; }
    poweroff -f
    sleep 60
}
fail() {
    echo "FAILED: $*"
    end FAILED
}

plug() { modprobe vivid n_devs=1 node_types=0x1 || fail "vivid does not load"; }
uptime_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

configure() { # configure FILE MODELS SIZE FPS: a gate with vivid's camera
    cat >"$1" <<END
mode = "bench"
[site]
project_code = "VIVID"
[storage]
dir = "/data"
[models]
dir = "$2"
[[lane]]
name = "north"
[lane.turnstile]
driver = "simulated"
[[lane.camera]]
direction = "entry"
source = "v4l2:/dev/video0"
size = $3
fps = $4
[control]
socket = "$1.sock"
END
}

configure /tmp/gate /models "[1280, 720]" 15
camera() { # camera FILTER: of the camera's status
    timeout 60 gatehouse --config /tmp/gate status --json 2>/dev/null | jq -r ".lanes[0].cameras[0] | $1"
}
wait_for() { # wait_for WHAT FILTER: until the camera's status is so
    tries=0
    until [ "$(camera "$2")" = true ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "$1; the status is $(camera .)"
        sleep 0.1
    done
}
flows() { # flows WHAT: another ten frames come
    frames=$(camera .frames)
    wait_for "no frames $1" ".connected and .frames >= $frames + 10"
    echo "frames come $1"
}
checked() { # checked SIZE FPS WANTED: what `check` says of such a camera holds it
    # It loads no models: that takes time.
    configure /tmp/other /none "$1" "$2"
    said=$(gatehouse --config /tmp/other check 2>&1 | grep camera)
    echo "check: $said"
    echo "$said" | grep -q "$3" || fail "check does not say $3"
}

echo "Linux $(uname -r), $(nproc) CPUs"
checked "[1280, 720]" 15 "No such file.*plug the camera in"
plug
for _ in 1 2 3 4 5; do [ -c /dev/video0 ] || sleep 1; done
checked "[1280, 720]" 15 "1280 x 720"
checked "[4000, 4000]" 1 "3840 x 2160"
checked "[500, 300]" 29 "640 x 360"

gatehouse --config /tmp/gate run >/tmp/log 2>&1 &
daemon=$!
wait_for "the daemon does not start" ".connected"
flows "at first"
# The nearest to 15 that vivid has at this size.
grep -q "YUYV 1280 x 720, 12.5 frames a second" /tmp/log || fail "it agreed on something else"
before=$(camera "[.frames, .last_frame_uptime_ms] | @tsv")
sleep 5
after=$(camera "[.frames, .last_frame_uptime_ms, .dropped, .skipped, .analysed, .undecodable] | @tsv")
echo "$before $after" | awk '{
    printf "frames: %.1f a second; dropped %d, skipped %d, looked at %d, undecodable %d\n", \
        ($3 - $1) * 1000 / ($4 - $2), $5, $6, $7, $8 }'
wait_for "frames are not decoded" ".undecodable == 0 and .too_large == 0 and .analysed > 0"
checked "[640, 360]" 15 "os error 16.*end the other program"

files() { ls "/proc/$daemon/fd" | wc -l; }
open_before=$(files)
for round in 1 2 3; do
    at=$(uptime_ms)
    echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind || fail "vivid cannot be unbound"
    wait_for "unplugging is not noticed" ".connected | not"
    echo "unplugged: noticed after $(($(camera .since_uptime_ms) - at)) ms: $(camera .last_error)"
    camera .last_error | grep -q "/dev/video0: .*plug the camera in" || fail "that error is wrong"
    errors=$(camera .errors)
    wait_for "it is not tried again" ".errors > $errors + 1"
    # Refused while anybody holds the device.
    rmmod vivid || fail "the daemon still holds the device"
    at=$(uptime_ms)
    plug
    wait_for "plugging in is not noticed" ".connected"
    echo "plugged in: open after $(($(camera .since_uptime_ms) - at)) ms"
    flows "after it was plugged in, round $round"
done

inject() { # inject CONTROL: what vivid is to do
    timeout 60 v4l2-ctl -d /dev/video0 -c "$1=1" || fail "vivid does not do $1"
}
skipped=$(camera .skipped)
inject inject_v4l2_buf_flag_error
wait_for "a damaged frame is not counted" ".skipped > $skipped and .connected"
echo "a damaged frame: skipped"
errors=$(camera .errors)
inject inject_fatal_streaming_error
wait_for "a fatal error is not noticed" ".errors > $errors and .connected"
echo "a fatal error: $(camera .last_error)"
flows "after a fatal error"

# Each call fails until the last one to hold the device has let go of it.
errors=$(camera .errors)
inject disconnect
wait_for "a disconnected device is not noticed" ".errors > $errors and .connected"
echo "disconnected: $(camera .last_error)"
flows "after it was disconnected"
[ "$(files)" -le "$open_before" ] || fail "files stay open: $open_before, now $(files)"

at=$(uptime_ms)
kill -TERM $daemon
wait $daemon || fail "the daemon ended with $?"
echo "stopped after $(($(uptime_ms) - at)) ms"
end PASSED
