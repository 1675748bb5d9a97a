"""A strict platform with the national interface (form, SHA-256 signature, AES ID numbers).

Its disk is the folder `--dir`: `records.jsonl` has each row once, in the order of arrival, and
`calls.jsonl` each accepted or refused call. `wrong.txt` has what a gateway must never send: a wrong
signature, an unknown field, a row of a form that the interface does not know.

`control.json` in that folder, read at each request, makes it fail. The folder outlives a kill.

  status: N          answers with this HTTP status; with `location`, a redirect
  body: "text"       answers with this instead of JSON
  huge: N            answers with N bytes
  code: N            answers each call with this code
  lose: N            stores the rows of the next N calls, and closes the connection without an answer
  teams: [...]       the team numbers that it knows; without it, all
  refuse: [...]      refuses calls with one of these ID numbers
  late: true         answers with a serial number; `decide: true` gives the verdicts
  foreign: true      answers an inquiry for another serial number
  delay_s: N         waits before an answer

Output: `ready` once it listens.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import ssl
import sys
import threading
import time
import traceback
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FORM = {"appid", "data", "format", "method", "nonce", "sign", "timestamp", "version"}
ROW = {"idCardType", "idCardNumber", "date", "direction", "attendType"}
EXISTS = "考勤记录已存在"
# The platform's day, wherever the test machine is.
BEIJING = timezone(timedelta(hours=8))


class Wrong(Exception):
    """The gateway broke a rule of the interface."""


class Refused(Exception):
    """The platform does not take a row."""


class Platform:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lock = threading.Lock()
        self.lost = 0
        self.records = {}
        self.serials = {}
        for line in self.lines("records.jsonl"):
            self.records[self.key(line)] = line
        for line in self.lines("serials.jsonl"):
            self.serials[line["serial"]] = line

    def path(self, name):
        return os.path.join(self.arguments.dir, name)

    def lines(self, name):
        try:
            with open(self.path(name), encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def write(self, name, value):
        with open(self.path(name), "a", encoding="utf-8") as file:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def wrong(self, what):
        with open(self.path("wrong.txt"), "a", encoding="utf-8") as file:
            file.write(f"{what}\n")

    def control(self):
        try:
            with open(self.path("control.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    @staticmethod
    def key(row):
        return (row["id"], row["date"], row["direction"])

    def opened(self, sealed):
        """Returns the ID number of a cipher."""
        secret = self.arguments.secret.encode()
        cipher = Cipher(algorithms.AES(secret), modes.CBC(secret[:16])).decryptor()
        padded = cipher.update(base64.b64decode(sealed, validate=True)) + cipher.finalize()
        unpadder = padding.PKCS7(128).unpadder()
        return (unpadder.update(padded) + unpadder.finalize()).decode()

    def form(self, body):
        """Checks the envelope of a call, and returns its method and data."""
        pairs = parse_qsl(body.decode("ascii"), strict_parsing=True)
        fields = dict(pairs)
        if len(fields) != len(pairs) or set(fields) != FORM:
            raise Wrong(f"fields {sorted(fields)}")
        if fields["appid"] != self.arguments.appid or fields["version"] != "1.0" or fields["format"] != "json":
            raise Wrong(f"envelope {fields}")
        digits = self.arguments.nonce_digits
        if not re.fullmatch("[0-9a-f]{32}" if digits == 32 else f"[0-9]{{{digits}}}", fields["nonce"]):
            raise Wrong(f"nonce {fields['nonce']}")
        datetime.strptime(fields["timestamp"], "%Y%m%d%H%M%S")
        sign = fields.pop("sign")
        text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
        text = f"{text}&appsecret={self.arguments.secret}".lower()
        if sign != hashlib.sha256(text.encode()).hexdigest():
            raise Wrong("sign")
        return fields["method"], json.loads(fields["data"])

    def rows(self, data):
        """Checks the data of a call, and returns its rows with open ID numbers."""
        if set(data) != {"projectCode", "teamSysNo", "dataList"}:
            raise Wrong(f"data {sorted(data)}")
        if data["projectCode"] != self.arguments.project:
            raise Wrong(f"project {data['projectCode']}")
        if not 1 <= len(data["dataList"]) <= self.arguments.at_once:
            raise Wrong(f"{len(data['dataList'])} rows in a call")
        rows = []
        for row in data["dataList"]:
            if set(row) - {"image"} != ROW:
                raise Wrong(f"row {sorted(row)}")
            if datetime.strptime(row["date"], "%Y-%m-%d %H:%M:%S").strftime("%Y-%m-%d %H:%M:%S") != row["date"]:
                raise Wrong(f"date {row['date']}")
            if row["direction"] not in ("01", "02") or row["attendType"] not in ("001", "005", "006", "008", "010", "011"):
                raise Wrong(f"codes {row}")
            if row["idCardType"] not in ("01", "08"):
                raise Wrong(f"idCardType {row}")
            if "image" in row:
                photo = base64.b64decode(row["image"], validate=True)
                if not photo.startswith(b"\xff\xd8") or not photo.endswith(b"\xff\xd9"):
                    raise Wrong("image is no JPEG")
            row = {**row, "id": self.opened(row["idCardNumber"]), "team": data["teamSysNo"]}
            del row["idCardNumber"]
            if not re.fullmatch("[0-9A-Z]{9,18}", row["id"]):
                raise Wrong(f"ID number {row['id']}")
            rows.append(row)
        return rows

    def take(self, rows, control):
        """Stores the rows of a call, or none of them."""
        for row in rows:
            if row["team"] not in control.get("teams", [row["team"]]):
                raise Refused("班组编号无效")
            if row["id"] in control.get("refuse", []):
                raise Refused("人员未在项目中")
            if row["date"] > datetime.now(BEIJING).strftime("%Y-%m-%d 23:59:59"):
                raise Refused("考勤日期大于当前日期")
        if any(self.key(row) in self.records for row in rows):
            raise Refused(EXISTS)
        for row in rows:
            self.write("records.jsonl", row)
            self.records[self.key(row)] = row

    def deliver(self, data, control):
        rows = self.rows(data)
        call = {"rows": [[row["id"], row["date"]] for row in rows], "team": data["teamSysNo"]}
        if control.get("late"):
            serial = f"attend-{len(self.serials) + 1}"
            self.serials[serial] = {"serial": serial, "data": data}
            self.write("calls.jsonl", {**call, "serial": serial})
            self.write("serials.jsonl", self.serials[serial])
            return {"code": 0, "message": "成功", "data": {"requestSerialCode": serial}}
        try:
            self.take(rows, control)
        except Refused as refused:
            self.write("calls.jsonl", {**call, "refused": str(refused)})
            return {"code": -1, "message": str(refused)}
        self.write("calls.jsonl", call)
        return {"code": 0, "message": "成功", "data": None}

    def inquire(self, data, control):
        if set(data) != {"requestSerialCode"}:
            raise Wrong(f"data {sorted(data)}")
        serial = data["requestSerialCode"]
        if serial not in self.serials:
            return {"code": -1, "message": "无此编码"}
        call = self.serials[serial]
        if control.get("decide") and "status" not in call:
            try:
                self.take(self.rows(call["data"]), control)
                call["status"] = {"status": "20", "result": "成功"}
            except Refused as refused:
                call["status"] = {"status": "10", "result": str(refused)}
            self.write("serials.jsonl", call)
        status = call.get("status", {"status": "0", "result": "待处理"})
        named = "attend-0" if control.get("foreign") else serial
        return {"code": 0, "message": "成功", "data": {"requestSerialCode": named, **status}}

    def answer(self, body, control):
        """Returns the answer to a call; None if it is to be lost."""
        if "code" in control:
            return {"code": control["code"], "message": "拒绝"}
        try:
            method, data = self.form(body)
            if method == "AsyncHandleResult.Query":
                return self.inquire(data, control)
            if method != "WorkerAttendance.Add":
                raise Wrong(f"method {method}")
            answer = self.deliver(data, control)
        except (Wrong, ValueError, KeyError) as wrong:
            self.wrong(repr(wrong))
            return {"code": -2 if str(wrong) == "sign" else -1, "message": str(wrong)}
        if self.lost < control.get("lose", 0):
            self.lost += 1
            return None
        return answer


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        # A gateway that was killed closes its connections.
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()
            self.platform.wrong(f"this platform failed: {sys.exc_info()[1]!r}")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self):
        platform = self.server.platform
        body = self.rfile.read(int(self.headers["Content-Length"]))
        control = platform.control()
        if self.path != "/open/api" or self.headers["Content-Type"].split(";")[0] != "application/x-www-form-urlencoded":
            return self.say(404, b"not here", {})
        time.sleep(control.get("delay_s", 0))
        if "status" in control:
            more = {"Location": control["location"]} if "location" in control else {}
            return self.say(control["status"], b"", more)
        if "body" in control:
            return self.say(200, control["body"].encode(), {})
        if "huge" in control:
            return self.say(200, b" " * control["huge"], {})
        with platform.lock:
            answer = platform.answer(body, control)
        if answer is None:
            self.close_connection = True
            return self.connection.close()
        self.say(200, json.dumps(answer, ensure_ascii=False).encode(), {})

    def say(self, status, body, more):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--appid", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--nonce-digits", type=int, default=32)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    os.makedirs(arguments.dir, exist_ok=True)
    server = Server(("127.0.0.1", arguments.port), Handler)
    server.platform = Platform(arguments)
    if arguments.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.cert, arguments.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
