"""Verifies an evidence package of a gateway. Written from docs/integrate/evidence.md alone.

    evidence.py PACKAGE [--fingerprint HEX] [--head FILE]

Prints one JSON object. The exit code is 0 if all proofs hold and 1 if the package is refused; `step` is then the number
of the check in the document. Needs cbor2 and cryptography.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Maximum depth of nested lists and maps. The document sets none.
MAX_DEPTH = 64
# Fields of an entry's `data` that name the worker.
NAMES = {kind: "person" for kind in ("grant", "release", "denial", "enrolment", "amendment", "supplement")}
NAMES |= {"removal": "worker", "state": "worker"}
# Fields of an entry's `data` that name another entry.
# Kinds of the health journal. They are about everyone.
JOURNAL = ("gap", "alarm", "storage", "clock")
ABOUT = {"outcome": "cause", "dispute": "disputes", "correction": "corrects", "withdrawal": "withdraws"}


class Refused(Exception):
    """Says why a check failed."""


def require(condition, why):
    """Refuses with the reason `why` unless the condition holds."""
    if not condition:
        raise Refused(why)


# Deterministic CBOR


def item(major, number):
    """Returns the shortest head of a CBOR item (RFC 8949, 4.2.1)."""
    require(number < 1 << 64, "an integer is longer than 64 bits")
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << 8 * size)
    return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def encode(value):
    """Returns the deterministic form: shortest heads, keys sorted by their bytes. Refuses all but the plain types."""
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if type(value) is int:
        return item(0, value) if value >= 0 else item(1, -1 - value)
    if type(value) is bytes:
        return item(2, len(value)) + value
    if type(value) is str:
        text = value.encode()
        return item(3, len(text)) + text
    if type(value) is list:
        return item(4, len(value)) + b"".join(map(encode, value))
    if type(value) is dict:
        require(all(type(key) is str for key in value), "a key is not a text")
        pairs = sorted((encode(key), encode(member)) for key, member in value.items())
        return item(5, len(value)) + b"".join(key + member for key, member in pairs)
    raise Refused("a value is absent, a float, a tag or of another type that is not allowed")


def refuse_tag(*_):
    """Refuses a tag. Some tags let a short file stand for a very large value, so they must not be decoded."""
    raise ValueError("a tag")


def decode(data, what):
    """Returns the value of one item in the deterministic form."""
    tags = dict.fromkeys(range(300), refuse_tag)
    try:
        value = cbor2.loads(data, max_depth=MAX_DEPTH, semantic_decoders=tags, tag_hook=refuse_tag)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise Refused(f"{what} is not CBOR: {error}") from error
    require(encode(value) == data, f"{what} is not in the deterministic form")
    return value


def has_empty(value):
    """Tells whether a list or a map in the value is empty."""
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and (not value or any(map(has_empty, value)))


# Shapes


def of(kind, test=lambda _: True):
    """Returns a check that a value has exactly this type and passes the test. A bool is no integer here."""
    return lambda value: type(value) is kind and test(value)


def octets(length):
    """Returns a check that a value is a byte string of this length."""
    return of(bytes, lambda value: len(value) == length)


text, boolean, blob, table = of(str), of(bool), of(bytes), of(dict)
unsigned, one = of(int, lambda value: value >= 0), of(int, lambda value: value == 1)
tables = of(list, lambda value: all(map(table, value)))


def shape(value, what, required, optional=(), other_keys=False):
    """Refuses a value that is not a map with these keys. `required` and `optional` hold a check for each key."""
    require(type(value) is dict, f"{what} is not a map")
    checks = required | dict(optional)
    for key in required:
        require(key in value, f"{what} has no {key}")
    for key, member in value.items():
        require(other_keys or key in checks, f"{what} has an unknown key")
        require(key not in checks or checks[key](member), f"{what}: {key} has the wrong form")


HEAD = {"v": one, "alg": one, "ledger": octets(16), "tree_size": unsigned, "root": octets(32), "at": unsigned,
        "synced": boolean, "gateway": text}
ENTRY = {"v": one, "alg": one, "salt": octets(16), "ledger": octets(16), "index": unsigned, "time": table, "kind": text}
TIME = {"wall_ms": unsigned, "synced": boolean, "boot": octets(16), "uptime_ms": unsigned, "ran_s": unsigned}
PACKAGE = {"v": one, "gateway": text, "project": text, "timezone": text, "worker": text, "from": text, "until": text,
           "key": octets(32), "head": blob, "signature": octets(64)}
NOT_EMPTY = lambda value: value and tables(value)
PACKAGE_OPTIONAL = {"entries": NOT_EMPTY, "earlier": NOT_EMPTY, "keys": NOT_EMPTY, "opened": table}
# Maximum number of earlier keys.
MAX_KEYS = 64
OPENED = {"index": unsigned, "id_type": text, "number": text, "salt": octets(32)}


# Hashes and signatures


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf(entry):
    return sha256(b"\x00" + entry)


def node(left, right):
    return sha256(b"\x01" + left + right)


def hashes(path):
    """Returns the hashes of a path, which may have none."""
    if path is None:
        return []
    require(len(path) % 32 == 0, "a path is not a series of hashes")
    return [path[start:start + 32] for start in range(0, len(path), 32)]


def fold(first, last, start, path):
    """Climbs from two places in a level to the root. Returns the hash of the old tree and of the whole tree."""
    old = whole = start
    for step in path:
        require(last, "a path is too long")
        if first & 1 or first == last:
            old, whole = node(step, old), node(step, whole)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            whole = node(whole, step)
        first, last = first >> 1, last >> 1
    require(last == 0, "a path is too short")
    return old, whole


def is_included(index, size, start, path, root):
    """Tells whether the path leads from the leaf to the root (RFC 9162, 2.1.3.2)."""
    return index < size and fold(index, size - 1, start, path)[1] == root


def is_beginning(old_size, old_root, size, root, path):
    """Tells whether the path proves that the old tree is the beginning of the tree (RFC 9162, 2.1.4.2)."""
    if old_size == size:
        return not path and old_root == root
    if not 0 < old_size < size or not path:
        return False
    if old_size & (old_size - 1) == 0:
        path = [old_root] + path
    first, last = old_size - 1, size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    return fold(first, last, path[0], path[1:]) == (old_root, root)


def verify_signature(key, signature, message, what):
    """Refuses a signature that is not the key's Ed25519 signature of the message."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Refused(f"the signature of {what} is wrong") from error


def read_head(message, keys, what):
    """Returns the payload of a head that one of the keys has signed (COSE_Sign1, RFC 9052, 4.4)."""
    require(message[:1] == b"\xd2", f"{what} is not a COSE_Sign1 message")
    parts = decode(message[1:], what)
    require(type(parts) is list and len(parts) == 4, f"{what} is not a COSE_Sign1 message")
    protected, unprotected, payload, signature = parts
    # The map {1: -8, 4: kid} has one deterministic form.
    key = next((key for key in keys if protected == bytes.fromhex("a20127045820") + sha256(key)), None)
    require(key, f"{what} has another key or algorithm")
    require(unprotected == {}, f"{what} has an unprotected header")
    require(blob(payload) and octets(64)(signature), f"{what} has no payload or no signature")
    head = decode(payload, f"the payload of {what}")
    shape(head, what, HEAD)
    verify_signature(key, signature, encode(["Signature1", protected, b"", payload]), what)
    return head


# Checks, in the order of the document


class Verifier:
    """Runs the checks. Each check may use the results of those before it."""

    def __init__(self, options):
        self.options = options
        self.anchored = {"fingerprint": False, "earlier_head": False}

    def check_form(self):
        """Step 1: the file is a package."""
        self.package = package = decode(Path(self.options.package).read_bytes(), "the package")
        shape(package, "the package", PACKAGE, PACKAGE_OPTIONAL)
        for member in package.get("entries", []):
            shape(member, "a member of entries", {"bytes": blob, "path": blob})
        for member in package.get("earlier", []):
            shape(member, "a member of earlier", {"head": blob, "path": blob})
        for member in package.get("keys", []):
            shape(member, "a member of keys", {"key": octets(32), "endorsement": octets(64)})
        if "opened" in package:
            shape(package["opened"], "opened", OPENED)

    def check_head(self):
        """Step 2: the head is signed with the key and is of the package's gateway. The keys endorse each other."""
        self.key, links = self.package["key"], self.package.get("keys", [])
        self.head = read_head(self.package["head"], [self.key], "the head")
        self.keys = [link["key"] for link in links] + [self.key]
        require(len(links) <= MAX_KEYS, "there are too many keys")
        for link, following in zip(links, self.keys[1:]):
            verify_signature(link["key"], link["endorsement"], b"gatehouse signing key 1" + following, "a key")
        require(self.head["gateway"] == self.package["gateway"], "the head is of another gateway")

    def check_fingerprint(self):
        """Step 3: the fingerprint is the one that the caller knows."""
        if self.options.fingerprint is not None:
            known = self.options.fingerprint.strip().lower()
            require(known in [sha256(key).hex() for key in self.keys], "the keys have other fingerprints")
            self.anchored["fingerprint"] = True

    def check_entries(self):
        """Step 4: each entry is in the head's tree."""
        self.entries, self.leaves, last = [], {}, -1
        for member in self.package.get("entries", []):
            entry = decode(member["bytes"], "an entry")
            shape(entry, "an entry", ENTRY, {"seq": unsigned, "data": table}, True)
            shape(entry["time"], "the time of an entry", TIME, other_keys=True)
            index, what = entry["index"], f"entry {entry['index']}"
            require(not has_empty(entry), f"{what} has an empty list or map")
            require(entry["ledger"] == self.head["ledger"], f"{what} is of another ledger")
            require(index > last, f"{what} does not come after the one before it")
            self.leaves[index] = leaf(member["bytes"])
            require(is_included(index, self.head["tree_size"], self.leaves[index], hashes(member["path"]),
                                self.head["root"]), f"{what} is not in the head's tree")
            self.entries.append(entry)
            last = index

    def check_worker(self):
        """Step 5: each entry names the worker, is about an earlier entry, or is a `lost`. An unknown kind may use each field."""
        for entry in self.entries:
            what, kind, data = f"entry {entry['index']}", entry["kind"], entry.get("data", {})
            known = kind in NAMES or kind in ABOUT or kind in JOURNAL or kind == "lost"
            names = [NAMES[kind]] if kind in NAMES else [] if known else ["person", "worker"]
            about = [ABOUT[kind]] if kind in ABOUT else [] if known else list(ABOUT.values())
            tied = kind in JOURNAL or kind == "lost"
            for field in filter(data.__contains__, names):
                person = data[field]
                if field == "person":
                    require(type(person) is dict, f"{what}: person is not a map")
                    person = person.get("id")
                require(person == self.package["worker"], f"{what} names another worker")
                tied = True
            for field in filter(data.__contains__, about):
                shape(data[field], f"{what}: {field}", {"index": unsigned, "hash": octets(32)}, other_keys=True)
                other = data[field]["index"]
                require(other < entry["index"] and other in self.leaves, f"{what} is about an entry that is not here")
                require(data[field]["hash"] == self.leaves[other], f"{what}: {field} has another hash")
                tied = True
            require(tied, f"{what} is not about the worker")

    def outages(self):
        """Returns the times in which the gate was down or blind: what, subject, why, from, until, certain."""
        booted, begun, found = {}, {}, []
        for entry in self.entries:
            if entry["kind"] == "clock" and "booted_at_ms" in entry["data"]:
                booted[entry["time"]["boot"]] = entry["data"]["booted_at_ms"]
        for entry in self.entries:
            data, time = entry.get("data", {}), entry["time"]
            now, sure = time["wall_ms"], time["synced"]
            if not sure and time["boot"] in booted:
                now, sure = booted[time["boot"]] + time["uptime_ms"], True
            if entry["kind"] == "gap":
                lasted = data.get("lasted_ms")
                start = data["last_at_ms"] if lasted is None else now - lasted
                certain = sure and (lasted is not None or data["last_synced"]) and start <= now
                found.append(["gate", None, data["why"], start, now, certain])
                continue
            if entry["kind"] == "alarm" and data["what"] in ("camera", "turnstile"):
                key, begins, why = (data["what"], data["subject"]), data["raised"], data["detail"]["code"]
                lasted = data["detail"].get("params", {}).get("lasted_s")
            elif entry["kind"] == "storage":
                key, begins, why, lasted = ("disk", None), data["state"] in ("failing", "full"), data["state"], None
            else:
                continue
            if begins:
                begun.setdefault(key, [*key, why, now, None, sure])
                continue
            outage = begun.pop(key, None)
            if outage is None and lasted is not None:
                outage = [*key, "over", now - 1000 * lasted, None, True]
            if outage is not None:
                outage[4], outage[5] = now, outage[5] and sure and outage[3] <= now
                found.append(outage)
        return sorted(found + list(begun.values()), key=lambda outage: outage[3])

    def check_opened(self):
        """Step 6: the opened identity number is the one of the commitment."""
        opened = self.package.get("opened")
        if opened is None:
            return
        entry = next((entry for entry in self.entries if entry["index"] == opened["index"]), None)
        require(entry and entry["kind"] in ("enrolment", "amendment"), "opened: the entry is not an enrolment here")
        data = entry.get("data", {})
        number = opened["salt"] + opened["id_type"].encode() + b"\x00" + opened["number"].encode()
        require(data.get("id_commitment") == sha256(b"gatehouse id 1" + number), "opened: another commitment")
        if entry["kind"] == "enrolment" or "id_type" in data:
            require(data.get("id_type") == opened["id_type"], "opened: the entry has another id_type")

    def check_earlier(self):
        """Step 7: the tree of each earlier head is the beginning of the head's."""
        self.earlier = []
        for member in self.package.get("earlier", []):
            old = read_head(member["head"], self.keys, "an earlier head")
            require(old["ledger"] == self.head["ledger"], "an earlier head is of another ledger")
            require(is_beginning(old["tree_size"], old["root"], self.head["tree_size"], self.head["root"],
                                 hashes(member["path"])), "an earlier head is not the beginning of the head's tree")
            self.earlier.append(old)

    def check_signature(self):
        """Step 8: the package is signed."""
        signed = {key: member for key, member in self.package.items() if key != "signature"}
        message = b"gatehouse evidence 1" + encode(signed)
        verify_signature(self.key, self.package["signature"], message, "the package")

    def check_anchor(self):
        """Step 9: the earlier head that the caller has does not contradict the package."""
        if self.options.head is None:
            return
        data = Path(self.options.head).read_bytes()
        if re.fullmatch(rb"([0-9a-fA-F]{2})+\r?\n?", data):
            data = bytes.fromhex(data.decode())
        mine = read_head(data, self.keys, "your head")
        require(mine["ledger"] == self.head["ledger"], "your head is of another ledger")
        for other in [self.head, *self.earlier]:
            if other["tree_size"] == mine["tree_size"]:
                require(other["root"] == mine["root"], "your head has another root for its size")
                self.anchored["earlier_head"] = True

    def run(self):
        """Returns the result as a map for JSON."""
        checks = [self.check_form, self.check_head, self.check_fingerprint, self.check_entries, self.check_worker,
                  self.check_opened, self.check_earlier, self.check_signature, self.check_anchor]
        for step, check in enumerate(checks, 1):
            try:
                check()
            except (Refused, OSError, ValueError) as why:
                return {"ok": False, "step": step, "why": str(why)}
        package, head = self.package, self.head
        return {"ok": True, "worker": package["worker"], "gateway": package["gateway"], "ledger": head["ledger"].hex(),
                "tree_size": head["tree_size"], "root": head["root"].hex(), "entries": len(self.entries), "outages": self.outages(),
                "fingerprint": sha256(self.key).hex(), "anchored": self.anchored}


def main():
    parser = argparse.ArgumentParser(description="Verifies an evidence package of a gateway.")
    parser.add_argument("package", metavar="PACKAGE")
    parser.add_argument("--fingerprint", metavar="HEX", help="fingerprint of the gateway's key")
    parser.add_argument("--head", metavar="FILE", help="an earlier head, as bytes or hex digits")
    result = Verifier(parser.parse_args()).run()
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
