#!/bin/busybox sh
# Runs as the only process in the virtual machine of tests/v4l2-qemu. Prints its results on the
# console, and PASSED or FAILED at the end.
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
    [ "$1" = PASSED ] || { echo "--- logs"; tail -n 40 /tmp/log; dmesg | tail -n 20; }
    poweroff -f
    sleep 60
}
fail() {
    echo "FAILED: $*"
    end FAILED
}

plug() { modprobe vivid n_devs=1 node_types=0x1 || fail "vivid does not load"; }
uptime_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

configure() { # configure FILE MODELS SIZE FPS: writes the configuration of a gate with vivid's camera
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
camera() { # camera FILTER: prints this part of the camera's status
    timeout 60 gatehouse --config /tmp/gate status --json 2>/dev/null | jq -r ".lanes[0].cameras[0] | $1"
}
wait_for() { # wait_for FAULT FILTER: waits until the filter is true, or fails with FAULT
    tries=0
    until [ "$(camera "$2")" = true ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "$1; the status is $(camera .)"
        sleep 0.1
    done
}
flows() { # flows WHEN: waits for ten more frames
    frames=$(camera .frames)
    wait_for "no frames $1" ".connected and .frames >= $frames + 10"
    echo "frames come $1"
}
checked() { # checked SIZE FPS WANTED: asserts that `check` prints WANTED for such a camera
    # Without models, because loading them takes time.
    configure /tmp/other /none "$1" "$2"
    said=$(gatehouse --config /tmp/other check 2>&1 | grep camera)
    echo "check: $said"
    echo "$said" | grep -q "$3" || fail "check does not print $3"
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
# The nearest rate to 15 that vivid offers at this size.
grep -q "YUYV 1280 x 720, 12.5 frames a second" /tmp/log || fail "the daemon chose another format"
before=$(camera "[.frames, .last_frame_uptime_ms] | @tsv")
sleep 5
after=$(camera "[.frames, .last_frame_uptime_ms, .dropped, .skipped, .analysed, .undecodable] | @tsv")
echo "$before $after" | awk '{
    printf "frames: %.1f a second; dropped %d, skipped %d, looked at %d, undecodable %d\n", \
        ($3 - $1) * 1000 / ($4 - $2), $5, $6, $7, $8 }'
wait_for "frames are not decoded" ".undecodable == 0 and .too_large == 0 and .analysed > 0"
checked "[640, 360]" 15 "os error 16.*stop the other program"

files() { ls "/proc/$daemon/fd" | wc -l; }
open_before=$(files)
for round in 1 2 3; do
    at=$(uptime_ms)
    echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind || fail "vivid cannot be unbound"
    wait_for "unplugging is not noticed" ".connected | not"
    echo "unplugged: noticed after $(($(camera .since_uptime_ms) - at)) ms: $(camera .last_error)"
    camera .last_error | grep -q "/dev/video0: .*plug the camera in" || fail "the error message is wrong"
    errors=$(camera .errors)
    wait_for "the daemon does not try again" ".errors > $errors + 1"
    # rmmod fails while a program holds the device.
    rmmod vivid || fail "the daemon still holds the device"
    at=$(uptime_ms)
    plug
    wait_for "plugging in is not noticed" ".connected"
    echo "plugged in: open after $(($(camera .since_uptime_ms) - at)) ms"
    flows "after it was plugged in, round $round"
done

inject() { # inject CONTROL: makes vivid do this
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

# Every call fails until the last program has closed the device.
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
