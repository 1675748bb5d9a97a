"""A platform that knows face terminals: the MQTT dialect `mqtt/face`, with paho-mqtt and SQLite.

It reads `info` strictly, keeps each record once on its disk, by terminal and `RecordID`, and only then
acknowledges it (`PushAck`). It can lose acknowledgements, repeat them, and end at any time. With a public
key it demands the signature of each message.

Input, one command a line: `lose N` (of the next records the acknowledgements are not sent), `twice` (each
acknowledgement is sent twice), `send JSON` (a command, published to the terminal), `send-file PATH` (a
command from a file), `retained JSON`, `report`, `quit`. Output, one JSON object a line: `ready`, `stored`
(the number of records, after each), `answer` (an answer of the terminal), `online`, `heartbeat`, `offline`,
`wrong` (a message against the dialect), `report`. It ends when its input ends.
"""

import argparse
import base64
import json
import os
import re
import select
import sqlite3
import sys
import time

import paho.mqtt.client as mqtt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
AGAIN_AFTER_S = 0.2


def say(**what):
    print(json.dumps(what), flush=True)


class Wrong(Exception):
    """A message against the dialect."""


def must(holds, what):
    if not holds:
        raise Wrong(what)


class Book:
    """The records on disk: a row for each terminal and `RecordID`."""

    def __init__(self, path):
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS record (terminal TEXT NOT NULL, number INTEGER NOT NULL, person TEXT NOT NULL,"
            " time TEXT NOT NULL, direction TEXT NOT NULL, live INTEGER NOT NULL, pic INTEGER NOT NULL,"
            " PRIMARY KEY (terminal, number))"
        )
        self.database.execute("CREATE TABLE IF NOT EXISTS copy (terminal TEXT, number INTEGER, live INTEGER)")

    def store(self, info):
        terminal, number = info["facesluiceId"], int(info["RecordID"])
        row = (terminal, number, info["customId"], info["time"], str(info["direction"]), info["Sendintime"], "pic" in info)
        self.database.execute("BEGIN")
        known = self.database.execute(
            "SELECT person, time, direction FROM record WHERE terminal = ? AND number = ?", row[:2]
        ).fetchone()
        if known is None:
            self.database.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.database.execute("INSERT INTO copy VALUES (?, ?, ?)", (terminal, number, info["Sendintime"]))
        self.database.execute("COMMIT")
        must(known is None or known == row[2:5], f"the record {number} came again, changed")
        must(known is None or info["Sendintime"] == 0, f"the record {number} came again as a live one")

    def count(self, table="record"):
        return self.database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


class Platform:
    def __init__(self, arguments):
        self.topic, self.sn = arguments.topic, arguments.sn
        self.online, self.heartbeat = arguments.online, arguments.heartbeat
        self.greets, self.book = not arguments.silent, Book(arguments.database)
        self.key = None
        if arguments.key:
            with open(arguments.key, "rb") as file:
                self.key = serialization.load_pem_private_key(file.read(), None).public_key()
        self.address = arguments.broker.rsplit(":", 1)
        self.lost, self.copies, self.tried_at, self.acks = 0, 1, 0.0, 0
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="face-platform", clean_session=False, manual_ack=True
        )
        self.client.on_connect, self.client.on_subscribe = self.connected, lambda *_: say(ready=True)
        self.client.on_message = self.came

    def connected(self, client, _userdata, _flags, reason, _properties):
        if not reason.is_failure:
            topics = [f"{self.topic}/Rec", f"{self.topic}/Ack", f"{self.topic}/Snap", self.online, self.heartbeat]
            client.subscribe([(topic, 1) for topic in topics])

    def verify(self, message, topic, text):
        if self.key is None:
            return
        try:
            signature = base64.b64decode(message["clientSign"], validate=True)
            self.key.verify(signature, (topic + message["operator"] + text).encode(), padding.PKCS1v15(), hashes.SHA256())
        except (KeyError, ValueError, InvalidSignature):
            raise Wrong(f"the signature of {message['operator']} is wrong") from None

    def came(self, _client, _userdata, message):
        try:
            self.take_in(message.topic, json.loads(message.payload))
        except (Wrong, KeyError, TypeError, ValueError) as wrong:
            say(wrong=f"{message.topic}: {wrong!r}")
        self.client.ack(message.mid, message.qos)

    def take_in(self, topic, message):
        info = message["info"]
        # Some platforms read the terminal's number at the top, and fail on real terminals.
        must("facesluiceId" not in message, "facesluiceId stands beside info")
        must(info["facesluiceId"] == self.sn, "facesluiceId is of another terminal")
        if topic == f"{self.topic}/Rec":
            must(message["operator"] == "RecPush", "operator")
            must(info["VerifyStatus"] == "1", "VerifyStatus")
            must(info["Sendintime"] in (0, 1), "Sendintime")
            must(TIME.fullmatch(info["time"]), "time")
            must(isinstance(info["RecordID"], str) and 0 < int(info["RecordID"]) < 2**31, "RecordID")
            must(info["customId"] and info["personName"] and info["personId"], "a person")
            if "pic" in info:
                form, data = info["pic"].split(",")
                photo = base64.b64decode(data, validate=True)
                must(form == "data:image/jpeg;base64" and photo[:2] + photo[-2:] == b"\xff\xd8\xff\xd9", "pic")
            has_pic = "1" if "pic" in info else "0"
            text = info["customId"] + info["RecordID"] + info["facesluiceId"] + info["time"] + has_pic
            self.verify(message, topic, text)
            self.book.store(info)
            self.acknowledge(info)
            say(stored=self.book.count())
        elif topic == f"{self.topic}/Ack":
            must(message["operator"].endswith("-Ack") or message["operator"] == "Ack", "operator")
            must(message["code"].isdigit() and info["result"] in ("ok", "fail"), "result")
            say(answer=message)
        elif topic in (self.online, self.heartbeat):
            operator = message["operator"]
            self.verify(message, topic, info["facesluiceId"])
            must((operator == "HeartBeat") == (topic == self.heartbeat) or self.online == self.heartbeat, "operator")
            must(operator == "Offline" or TIME.fullmatch(info["time"]), "time")
            if operator == "Online" and self.greets:
                info = {"facesluiceId": self.sn, "result": "ok"}
                self.publish({"messageId": "10201", "operator": "Online-Ack", "info": info})
            say(**{operator.lower(): info["facesluiceId"]})
        else:
            raise Wrong("a topic that no gate has")

    def acknowledge(self, info):
        if self.lost > 0:
            self.lost -= 1
            return
        ack = {"PushAckType": 2, "SnapOrRecordID": int(info["RecordID"])}
        for _ in range(self.copies):
            self.acks += 1
            self.publish({"operator": "PushAck", "messageId": f"ACK-{self.acks}", "info": ack})

    def publish(self, message, retain=False):
        payload = message if isinstance(message, (str, bytes)) else json.dumps(message)
        self.client.publish(self.topic, payload, qos=1, retain=retain)

    def turn_over(self, now):
        sock = self.client.socket()
        if sock is None and now - self.tried_at > AGAIN_AFTER_S:
            self.tried_at = now
            try:
                self.client.connect(self.address[0], int(self.address[1]), keepalive=20)
            except OSError:
                pass  # the broker is away
            sock = self.client.socket()
        sockets = [sock] if sock is not None else []
        writing = sockets if self.client.want_write() else []
        readable, writable, _ = select.select([sys.stdin, *sockets], writing, [], 0.05)
        if writable:
            self.client.loop_write()
        if sock in readable:
            self.client.loop_read()
        self.client.loop_misc()
        return sys.stdin in readable

    def command(self, line):
        word, _, rest = line.partition(" ")
        match word:
            case "lose":
                self.lost = int(rest)
            case "twice":
                self.copies = 2
            case "send":
                self.publish(rest)
            case "send-file":
                with open(rest, "rb") as file:
                    self.publish(file.read())
            case "retained":
                self.publish(rest, retain=True)
            case "report":
                say(report=self.book.count(), copies=self.book.count("copy"))
            case _:
                sys.exit(f"unknown command: {line}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--broker", required=True, help="HOST:PORT")
    arguments.add_argument("--topic", required=True, help="the topic of commands")
    arguments.add_argument("--sn", required=True)
    arguments.add_argument("--online", required=True)
    arguments.add_argument("--heartbeat", required=True)
    arguments.add_argument("--database", required=True)
    arguments.add_argument("--key", help="PEM file: the key that signs")
    arguments.add_argument("--silent", action="store_true", help="no answer to Online")
    platform = Platform(arguments.parse_args())
    heard = b""
    while True:
        if platform.turn_over(time.monotonic()):
            some = os.read(0, 1 << 16)
            heard += some
            *lines, heard = heard.split(b"\n")
            for line in lines:
                if line == b"quit":
                    return
                platform.command(line.decode())
            if not some:
                return


if __name__ == "__main__":
    main()
