"""A platform that speaks TCP 843, made with Python's socketserver. It is strict.

    tcp843.py --port PORT --records FILE --vendor CODE --device CODE [--device CODE] [--bcc bytes|hex]
              [--workers N] [--rotten N] [--parts N] [--version 1|3|5] [--needs-photo]

Each frame is checked: marks, lengths, version, session, check byte, the order of questions. A fault of the
client is a `violation` in the report, and ends the connection. A record is kept once for each worker, time
and device, and is on the disk (fsync) before it is answered.

The list has N workers, numbered from 1 on. The ID number of worker n is that of `id_number(n)`. Rotten
entries, which no client can read, lie between them.

Input, one command a line:
    report          prints the report
    lose N          the next N records are stored and not answered
    cut N           the next N answers to records are cut in the middle, and the connection is closed
    damage N        the next N answers to records have a wrong check byte
    refuse TEXT     the next record is refused with this text
    deny CODE       logins of this device are refused; `allow CODE` ends that
    mute / speak    heartbeats are not answered / are answered again
    forget CODE     the session of this device is not known any longer: records get 未登录
    remove N        worker N is not on the list any longer, and records of the worker are refused
    hold            the list is not answered until `go`; prints `held` when it is asked for
    dribble S       an answer to a login comes byte by byte, with S seconds between them
    rot             the list's check byte is wrong from now on; `heal` ends that
Output, one JSON object a line: `ready`, `login`, `stored`, `listed`, `done`, `report`.
"""

import argparse
import json
import os
import secrets
import socketserver
import struct
import sys
import threading
import time

HEAD = 32
LOGIN, ATTENDANCE, LIST, HEARTBEAT = 843, 848, 849, 65535
lock = threading.RLock()


def say(**what):
    with lock:
        print(json.dumps(what, ensure_ascii=False), flush=True)


def bcc(content):
    text = content.hex().upper().encode() if arguments.bcc == "hex" else content
    total = 0
    for byte in text:
        total ^= byte
    return total


def sealed(content):
    return content + bytes([bcc(content)])


def id_number(n):
    """Returns a valid ID number: region, a day, a sequence, and the check character of ISO 7064."""
    day = n // 900
    digits = f"110101{1950 + day // 28 // 12:04}{day // 28 % 12 + 1:02}{day % 28 + 1:02}{n % 900 + 100:03}"
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2 % 11
    return digits + "0123456789X"[(1 - total) % 11]


class Platform:
    def __init__(self):
        self.violations, self.logins, self.heartbeats, self.lists = [], 0, 0, 0
        self.repeats = self.refused = self.asked_all = 0
        self.lose = self.cut = self.damage = 0
        self.refuse, self.denied, self.removed, self.forgotten = [], set(), set(), set()
        self.mute = self.rot = False
        self.dribble, self.free = 0, threading.Event()
        self.free.set()
        self.records = {}  # (code, time, device): type and length of the photo
        if os.path.exists(arguments.records):
            for line in open(arguments.records):
                record = json.loads(line)
                self.records[tuple(record["key"])] = (record["type"], record["photo"])
        self.file = open(arguments.records, "a")

    def keep(self, key, kind, photo):
        if key in self.records:
            self.repeats += 1
            return
        self.file.write(json.dumps({"key": key, "type": kind, "photo": photo}) + "\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.records[key] = (kind, photo)
        say(stored=len(self.records))

    def list(self):
        size = 50 if arguments.version == 5 else 10
        entries = []
        for n in range(1, arguments.workers + 1):
            if n in self.removed:
                continue
            name = f"工{n}".encode()[:size].ljust(size, b"\0")
            entries.append(struct.pack("<I", n) + name + id_number(n).encode() + bytes(9))
            if n <= arguments.rotten:
                entries.append(struct.pack("<I", n) + b"\xff" * size + b"123456789012345678" + bytes(9))
        project = b"P001" + "西区".encode().ljust(100, b"\0")
        per_part = max(1, -(-len(entries) // arguments.parts))
        contents = [b"".join(entries[at : at + per_part]) for at in range(0, len(entries), per_part)] or [b""]
        contents[0] = project + contents[0]
        return contents

    def report(self):
        return {
            "report": len(self.records),
            "records": sorted([*key, *value] for key, value in self.records.items()),
            "violations": self.violations,
            "repeats": self.repeats,
            "refused": self.refused,
            "logins": self.logins,
            "heartbeats": self.heartbeats,
            "lists": self.lists,
            "asked_all": self.asked_all,
        }


class Violation(Exception):
    pass


def must(holds, what):
    if not holds:
        raise Violation(what)


class Client(socketserver.BaseRequestHandler):
    device, session = None, bytes(16)

    def handle(self):
        try:
            while frame := self.read():
                self.answer(*frame)
        except Violation as violation:
            with lock:
                platform.violations.append(str(violation))
        except (ConnectionError, OSError):
            pass

    def exactly(self, count, first=False):
        got = b""
        while len(got) < count:
            some = self.request.recv(count - len(got))
            if not some:
                # A client may hang up, also within a frame when it is killed.
                raise ConnectionResetError
            got += some
        return got

    def read(self):
        head = self.exactly(HEAD)
        mark, length, part, parts, version, command = struct.unpack("<BIIIBH", head[:16])
        must(mark == 1, f"a frame begins with {mark}")
        must((part, parts) == (0, 0), f"part {part} of {parts}")
        must(version == arguments.version, f"version {version}")
        must(length < 2_000_000, f"{length} bytes")
        must(head[16:] == self.session, f"command {command} has another session")
        content, tail = self.exactly(length), self.exactly(2)
        must(tail == b"\0\1", f"a frame ends with {tail.hex()}")
        if command == HEARTBEAT:
            must(content == b"", "a heartbeat has a content")
        else:
            must(content and bcc(content[:-1]) == content[-1], f"command {command} has a wrong check byte")
        # One question at a time.
        self.request.setblocking(False)
        try:
            more = self.request.recv(1)
            if more:
                must(False, f"bytes before the answer to {command}")
            raise ConnectionResetError
        except BlockingIOError:
            pass
        finally:
            self.request.setblocking(True)
        return command, content[:-1]

    def send(self, command, content=b"", failed=False, part=0, parts=0):
        head = struct.pack("<BIIIBH", 1, len(content), part, parts, arguments.version, command)
        frame = head + self.session + content + bytes([failed, 1])
        if command == LOGIN and platform.dribble:
            for byte in frame:
                self.request.sendall(bytes([byte]))
                time.sleep(platform.dribble)
        else:
            self.request.sendall(frame)

    def answer(self, command, content):
        must(self.device or command == LOGIN, f"{command} before the login")
        if command == LOGIN:
            self.login(content)
        elif command == HEARTBEAT:
            with lock:
                platform.heartbeats += 1
                mute = platform.mute
            if not mute:
                self.send(HEARTBEAT)
        elif command == LIST:
            self.list(content)
        else:
            must(command == ATTENDANCE, f"command {command}")
            self.attendance(content)

    def login(self, content):
        must(self.device is None, "a second login")
        must(len(content) == 64, f"a login of {len(content)} bytes")
        vendor, device = (content[at : at + 32].rstrip(b"\0").decode("ascii") for at in (0, 32))
        with lock:
            platform.logins += 1
            denied = vendor != arguments.vendor or device not in arguments.device or device in platform.denied
        if denied:
            return self.send(LOGIN, "设备未绑定".encode(), True)
        self.device, self.session = device, secrets.token_bytes(16)
        with lock:
            platform.forgotten.discard(device)
        self.send(LOGIN)
        say(login=device)

    def list(self, content):
        must(len(content) == 39, f"a question for the list of {len(content)} bytes")
        must(content[:32].rstrip(b"\0").decode() == self.device, "the list of another device")
        if not platform.free.is_set():
            say(held=True)
            platform.free.wait()
        with lock:
            platform.lists += 1
            platform.asked_all += content[32:] == b"\xff" * 7
            contents, rot = platform.list(), platform.rot
        for at, some in enumerate(contents):
            some = sealed(some)
            if rot:
                some = some[:-1] + bytes([some[-1] ^ 1])
            single = len(contents) == 1
            self.send(LIST, some, part=0 if single else at, parts=0 if single else len(contents))
        say(listed=platform.lists)

    def attendance(self, content):
        must(len(content) >= 16, f"a record of {len(content)} bytes")
        code, at, kind, length = struct.unpack("<I7sBI", content[:16])
        must(len(content) == 16 + length, f"a photo of {length} in {len(content)} bytes")
        digits = at.hex()
        must(digits.isdigit(), f"time {digits}")
        photo = content[16:]
        must(not photo or photo[:2] + photo[-2:] == b"\xff\xd8\xff\xd9", "the photo is no JPEG")
        with lock:
            if self.device in platform.forgotten:
                return self.send(ATTENDANCE, "设备未登录".encode(), True)
            words = platform.refuse.pop(0) if platform.refuse else None
            if not 1 <= code <= arguments.workers or code in platform.removed:
                words = "工人编号不存在"
            elif arguments.needs_photo and not photo:
                words = "考勤照片为空"
            if words:
                platform.refused += 1
                return self.send(ATTENDANCE, words.encode(), True)
            platform.keep((code, digits, self.device), kind, length)
            if platform.lose:
                platform.lose -= 1
                return
            if platform.cut:
                platform.cut -= 1
                self.request.sendall(b"\1\0\0\0\0\0\0")
                raise ConnectionResetError
            if platform.damage:
                platform.damage -= 1
                return self.send(ATTENDANCE, b"ok\0")
        self.send(ATTENDANCE)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


def command(line):
    word, _, rest = line.strip().partition(" ")
    with lock:
        match word:
            case "report":
                return say(**platform.report())
            case "lose" | "cut" | "damage":
                setattr(platform, word, int(rest))
            case "refuse":
                platform.refuse.append(rest)
            case "deny":
                platform.denied.add(rest)
            case "allow":
                platform.denied.discard(rest)
            case "mute" | "speak":
                platform.mute = word == "mute"
            case "rot" | "heal":
                platform.rot = word == "rot"
            case "hold":
                platform.free.clear()
            case "go":
                platform.free.set()
            case "dribble":
                platform.dribble = float(rest)
            case "forget":
                platform.forgotten.add(rest)
            case "remove":
                platform.removed.add(int(rest))
            case _:
                sys.exit(f"unknown command: {line}")
        say(done=word)


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--records", required=True)
parser.add_argument("--vendor", required=True)
parser.add_argument("--device", action="append", required=True)
parser.add_argument("--bcc", choices=["bytes", "hex"], default="bytes")
parser.add_argument("--workers", type=int, default=3)
parser.add_argument("--rotten", type=int, default=0)
parser.add_argument("--parts", type=int, default=1)
parser.add_argument("--version", type=int, default=1)
parser.add_argument("--needs-photo", action="store_true")
arguments = parser.parse_args()
platform = Platform()
with Server(("127.0.0.1", arguments.port), Client) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(ready=True)
    for line in sys.stdin:
        command(line)
