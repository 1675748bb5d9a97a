"""A platform from other projects' parts: paho-mqtt with a persistent session, and SQLite.

It acknowledges a message to the broker only after the message is on its own disk. It asks for missing
seqs with `attendance.resend`, one command at a time. With `--ack platform` it never asks. Instead it
publishes on `ack` up to which seq it has all records. When its broker fails, it changes to the next one.

Input, one command a line: `leave` and `come` (the broker keeps the session), `mend` (asks until no seq
below the highest one is missing), `report`, `quit`. Output, one JSON object a line: `ready` (it is
subscribed), `connected` (the broker), `stored` (the number of records, after each hundred), `left`,
`mended` (the number of records that were missing), `refused` (the gateway's error for a command),
`report`. It ends when its input ends.
"""

import argparse
import hashlib
import json
import os
import select
import socket
import sqlite3
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone

import paho.mqtt.client as mqtt

# Maximum number of messages that are stored in one transaction and then acknowledged.
BATCH = 500
CONNACK_WITHIN_S, AGAIN_AFTER_S = 20.0, 0.2
REPLY_WITHIN_S, ARRIVE_WITHIN_S = 5.0, 5.0
# Timeout after which an unacknowledged publication makes it change to the next broker.
TAKEN_WITHIN_S = 20.0
# Interval between acknowledgements to the gateway. They are repeated, because a gateway without a
# connection may have missed one.
SAID_ANEW_S = 5.0
COMMAND_AT_MOST, COMMAND_VALID_S = 10_000, 60
SAY_EVERY = 100


def say(**what):
    print(json.dumps(what), flush=True)


class Book:
    """The received records on disk: a row for each (ledger, seq), in the order of arrival."""

    def __init__(self, path):
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            "CREATE TABLE record (arrival INTEGER PRIMARY KEY, ledger TEXT NOT NULL, seq INTEGER NOT NULL,"
            " leaf TEXT NOT NULL, marked INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (ledger, seq))"
        )
        self.records = {}  # (ledger, seq): hash of the content, and whether an unmarked copy came
        self.stubs = set()  # (ledger, seq) of which only a stub came
        self.upto, self.highest = {}, {}
        self.lost = set()  # (ledger, seq) that the gateway can never send
        self.repeats = self.differing = self.late = 0
        self.unmarked = []

    def store(self, messages):
        """Stores the messages and returns the ledgers of their records."""
        rows, ledgers = [], set()
        for payload, redelivered in messages:
            record = json.loads(payload)
            if "seq" not in record:  # a trial of `gatehouse check`
                continue
            marked = record.pop("resent", False) or redelivered
            ledger, seq = record["ledger"], record["seq"]
            body = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).digest()
            ledgers.add(ledger)
            if record.get("kind") == "lost":
                self.lost.update((ledger, gone) for gone in range(record["first"], record["last"] + 1))
            known = self.records.get((ledger, seq))
            if "withheld" in record:
                if known is not None and (ledger, seq) not in self.stubs:
                    continue  # the record has come
                self.stubs.add((ledger, seq))
            elif (ledger, seq) in self.stubs:  # the record replaces its stub; the leaf is the same
                self.stubs.discard((ledger, seq))
                self.records[ledger, seq] = (body, known[1] or not marked)
                continue
            if known is None:
                self.records[ledger, seq] = (body, not marked)
                rows.append((ledger, seq, record["leaf"]["hash"], marked, body))
                self.late += seq < self.highest.get(ledger, 0)
                self.highest[ledger] = max(seq, self.highest.get(ledger, 0))
                continue
            self.repeats += 1
            self.differing += known[0] != body
            # Copies may overtake each other. All but one must be marked.
            if known[1] and not marked:
                self.unmarked.append(seq)
            self.records[ledger, seq] = (known[0], known[1] or not marked)
        if rows:
            self.database.execute("BEGIN")
            self.database.executemany(
                "INSERT INTO record (ledger, seq, leaf, marked, body) VALUES (?, ?, ?, ?, ?)", rows
            )
            self.database.execute("COMMIT")
        for ledger in ledgers:
            upto = self.upto.get(ledger, 0)
            while self.has(ledger, upto + 1):
                upto += 1
            self.upto[ledger] = upto
        return ledgers

    def has(self, ledger, seq):
        """Returns whether nothing more is to come for this seq."""
        return (ledger, seq) in self.records or (ledger, seq) in self.lost

    def gaps(self):
        """Returns the gaps as (ledger, from, to), the oldest first."""
        found = []
        for ledger, highest in self.highest.items():
            for seq in range(self.upto[ledger] + 1, highest):
                if self.has(ledger, seq):
                    continue
                if found and found[-1][0] == ledger and found[-1][2] == seq - 1:
                    found[-1][2] = seq
                else:
                    found.append([ledger, seq, seq])
        return found

    def missing(self):
        return sum(last - first + 1 for _, first, last in self.gaps())


class Mending:
    """Asks for the missing records, gap by gap, until none is missing."""

    def __init__(self, consumer):
        self.consumer, self.commands = consumer, 0
        self.missing = consumer.book.missing()
        self.begin()

    def begin(self):
        self.ranges = [
            (start, min(start + COMMAND_AT_MOST - 1, last))
            for _, first, last in self.consumer.book.gaps()
            for start in range(first, last + 1, COMMAND_AT_MOST)
        ]
        self.asked, self.sent_at, self.all_asked_at = None, 0.0, None

    def step(self, now):
        """Does the next step and returns whether no record is missing."""
        if not self.consumer.standing:
            return False
        if self.asked is None and self.ranges:
            first, last = self.ranges.pop(0)
            self.asked = {"id": uuid.uuid4().hex, "verb": "attendance.resend", "args": {"from": first, "to": last}}
            self.commands += 1
            self.send(now)
        elif self.asked is not None:
            if now - self.sent_at > REPLY_WITHIN_S:
                self.send(now)  # the same id, so that the gateway carries it out once
        elif not self.consumer.book.missing():
            return True
        else:
            self.all_asked_at = self.all_asked_at or now
            if now - self.all_asked_at > ARRIVE_WITHIN_S:
                self.begin()  # a broker has lost some of them again
        return False

    def send(self, now):
        self.sent_at, issued = now, datetime.now(timezone.utc)
        expires = issued + timedelta(seconds=COMMAND_VALID_S)
        self.asked["issued_at"], self.asked["expires_at"] = issued.isoformat(), expires.isoformat()
        self.consumer.publish("command", self.asked)

    def replied(self, reply):
        if self.asked is None or reply["id"] != self.asked["id"]:
            return  # reply to an earlier command
        if reply["ok"]:
            self.asked = None
        elif reply["error"]["code"] == "busy":
            self.sent_at = time.monotonic() - REPLY_WITHIN_S + AGAIN_AFTER_S
        else:
            say(refused=reply["error"])
            self.asked = None


class Consumer:
    def __init__(self, arguments):
        self.root, self.brokers, self.platform = arguments.root, arguments.broker, arguments.ack == "platform"
        self.book, self.mending = Book(arguments.database), None
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="platform", clean_session=False, manual_ack=True
        )
        self.client.connect_timeout = CONNACK_WITHIN_S
        self.client.on_connect, self.client.on_message = self.connected, self.came
        self.client.on_subscribe, self.client.on_publish = self.subscribed, self.taken
        self.client.on_socket_open = self.opened
        self.untaken, self.acknowledged_at = {}, 0.0
        self.batch, self.replies = [], []
        self.away = self.standing = False
        self.tried_at, self.turn = 0.0, -1
        self.said, self.connects, self.sessions_lost = 0, 0, 0

    def opened(self, _client, _userdata, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(self, leaf, what):
        message = self.client.publish(f"{self.root}/{leaf}", json.dumps(what), qos=1)
        self.untaken[message.mid] = time.monotonic()

    def taken(self, _client, _userdata, mid, _reason, _properties):
        self.untaken.pop(mid, None)

    def stuck(self, now):
        """Returns whether the broker owes an answer for too long."""
        if not self.standing:
            return now - self.tried_at > CONNACK_WITHIN_S
        return any(now - since > TAKEN_WITHIN_S for since in self.untaken.values())

    def connect(self, now):
        self.turn = (self.turn + 1) % len(self.brokers)
        self.standing, self.tried_at = False, now
        self.untaken = dict.fromkeys(self.untaken, now)  # paho sends them again
        host, port = self.brokers[self.turn].rsplit(":", 1)
        try:
            self.client.connect(host, int(port), keepalive=20)
        except OSError:
            pass  # the next call tries the next broker

    def connected(self, client, _userdata, flags, reason, _properties):
        if reason.is_failure:
            return
        self.sessions_lost += self.connects > 0 and not flags.session_present
        self.connects += 1
        client.subscribe([(f"{self.root}/{leaf}", 1) for leaf in ("attendance", "event", "reply")])
        say(connected=self.brokers[self.turn], session=flags.session_present)

    def subscribed(self, _client, _userdata, _mid, reasons, _properties):
        if any(reason.is_failure for reason in reasons):
            return  # `stuck` connects again after the timeout
        self.standing = True
        if self.connects == 1:
            say(ready=True)
        if self.platform:  # a broker may have lost the last acknowledgement
            self.acknowledge(self.book.upto)

    def came(self, _client, _userdata, message):
        self.batch.append(message)

    def acknowledge(self, ledgers):
        self.acknowledged_at = time.monotonic()
        for ledger in ledgers:
            self.publish("ack", {"ledger": ledger, "upto": self.book.upto[ledger]})

    def take_in(self):
        batch, self.batch = self.batch, []
        replies = [message for message in batch if message.topic.endswith("/reply")]
        records = [message for message in batch if not message.topic.endswith("/reply")]
        ledgers = self.book.store((message.payload, message.dup) for message in records)
        for message in batch:
            self.client.ack(message.mid, message.qos)
        if self.platform and self.standing:
            self.acknowledge(ledgers)
        for reply in replies:
            if self.mending:
                self.mending.replied(json.loads(reply.payload))
        stored = len(self.book.records)
        if stored // SAY_EVERY > self.said // SAY_EVERY:
            self.said = stored
            say(stored=stored)

    def turn_over(self, now):
        """Does one round: reads, writes, and does what is due."""
        sock = self.client.socket()
        if sock is None:
            self.standing = False
            if not self.away and now - self.tried_at > AGAIN_AFTER_S:
                self.connect(now)
            sock = self.client.socket()
        elif self.stuck(now):
            self.connect(now)  # this closes the old connection
            sock = self.client.socket()
        sockets = [sock] if sock is not None else []
        writing = sockets if self.client.want_write() else []
        readable, writable, _ = select.select([sys.stdin, *sockets], writing, [], 0.05)
        if writable:
            self.client.loop_write()
        if sock in readable:
            while len(self.batch) < BATCH:
                before = len(self.batch)
                if self.client.loop_read() != mqtt.MQTT_ERR_SUCCESS or len(self.batch) == before:
                    break
        if self.batch:
            self.take_in()
        if self.platform and self.standing and now - self.acknowledged_at > SAID_ANEW_S:
            self.acknowledge(self.book.upto)
        self.client.loop_misc()
        if self.mending and self.mending.step(now):
            say(mended=self.mending.missing, commands=self.mending.commands)
            self.mending = None
        return sys.stdin in readable

    def command(self, line):
        match line:
            case "leave":
                self.away = True
                self.client.disconnect()
                while self.client.want_write():
                    self.client.loop_write()
                say(left=True)
            case "come":
                self.away = False
            case "mend":
                self.mending = Mending(self)
            case "report":
                book = self.book
                say(
                    report=len(book.records),
                    highest=max(book.highest.values(), default=0),
                    missing=book.missing(),
                    repeats=book.repeats,
                    unmarked=book.unmarked,
                    differing=book.differing,
                    stubs=len(book.stubs),
                    late=book.late,
                    untaken=len(self.untaken),
                    connects=self.connects,
                    sessions_lost=self.sessions_lost,
                )
            case _:
                sys.exit(f"unknown command: {line}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--broker", action="append", required=True, help="HOST:PORT; repeat it for several brokers")
    arguments.add_argument("--root", required=True, help="prefix of the gateway's topics, without the last level")
    arguments.add_argument("--database", required=True)
    arguments.add_argument("--ack", choices=["broker", "platform"], default="broker")
    consumer = Consumer(arguments.parse_args())
    heard = b""
    while True:
        if consumer.turn_over(time.monotonic()):
            some = os.read(0, 4096)
            heard += some
            *lines, heard = heard.split(b"\n")
            for line in lines:
                if line == b"quit":
                    return
                consumer.command(line.decode())
            if not some:
                return


main()
