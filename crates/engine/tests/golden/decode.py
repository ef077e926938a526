#!/usr/bin/env python3
"""Reads golden pools by what docs/format.md says, and nothing else.

A second reader of the stored format, written from that page alone: what it cannot read, the page does not tell. For each pool
it checks every checksum, decodes everything that the newest manifest leads to, compares reference counts, weights, totals,
realms and the segment table with the trees, decodes the log, and compares what it has seen with expected.txt.

    decode.py DIRECTORY...        with pool/, log/ and expected.txt in each
    decode.py encodings.txt       samples of every record

Only the standard library is used. Items in Zstandard are decompressed where Python can do it (3.14); elsewhere the trees of such
pools are not read, and a line says so. Of encrypted pools only the envelopes are read, as there is no AES in the library.
"""

import os
import struct
import sys

try:
    from compression import zstd
except ImportError:
    zstd = None

VERSION = 1
TREES = {1: "directory", 2: "file", 3: "side", 4: "alias", 5: "ledger", 6: "realm"}
KINDS = ["file", "directory", "symlink", "fifo", "socket", "chardevice", "blockdevice"]
MASK = (1 << 64) - 1


class Corrupt(Exception):
    pass


class Unreadable(Exception):
    pass


def need(true, words):
    if not true:
        raise Corrupt(words)


# ---- values ----

CRC = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC.append(byte)


def crc32c(data, start=0):
    crc = start ^ 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def fnv(data, value=0xCBF29CE484222325):
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def siphash13(key, data):
    k0, k1 = key
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def turn(x, n):
        return (x << n | x >> 64 - n) & MASK

    def mix():
        v[0] = (v[0] + v[1]) & MASK
        v[1] = turn(v[1], 13) ^ v[0]
        v[0] = turn(v[0], 32)
        v[2] = (v[2] + v[3]) & MASK
        v[3] = turn(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & MASK
        v[3] = turn(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & MASK
        v[1] = turn(v[1], 17) ^ v[2]
        v[2] = turn(v[2], 32)

    whole = len(data) // 8 * 8
    words = [data[at : at + 8] for at in range(0, whole, 8)]
    words.append(data[whole:] + bytes(7 - len(data) % 8) + bytes([len(data) & 255]))
    for word in words:
        word = int.from_bytes(word, "little")
        v[3] ^= word
        mix()
        v[0] ^= word
    v[2] ^= 255
    for _ in range(3):
        mix()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        need(self.at + length <= len(self.data), "a record ends too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def u64(self):
        return int.from_bytes(self.take(8), "little")

    def varint(self, bits=64):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need(byte or shift == 7, "a number that could be shorter")
                need(value < 1 << bits, "a number is too large")
                return value

    def bytes(self):
        return self.take(self.varint())

    def time(self):
        zigzag, nanos = self.varint(), self.varint()
        need(nanos < 10**9, "nanoseconds")
        return (zigzag >> 1) ^ -(zigzag & 1), nanos

    def option(self, what):
        flag = self.u8()
        need(flag < 2, "an option")
        return what() if flag else None

    def address(self):
        raw = self.u64()
        need(raw >> 24, "an address")
        return raw

    def root(self):
        raw = self.u64()
        need(raw == 0 or raw >> 24, "an address")
        return raw

    def uid(self):
        return self.varint(63)

    def realm(self):
        return self.varint(24), self.uid()

    def side_key(self):
        home = self.varint()
        need(home <= 1 << 63, "a realm")
        foreign = (home, self.uid()) if home else (0, 0)
        return (*foreign, self.varint())

    def list(self, what):
        return [what() for _ in range(self.varint())]

    def pairs(self):
        return self.list(lambda: (self.bytes(), self.bytes()))

    def end(self):
        need(self.at == len(self.data), "bytes are left over")

    # ---- records of trees ----

    def extent(self):
        frame, start, length = self.address(), self.varint(32), self.varint(32)
        need(length >= 1 and start + length < 1 << 32, "an extent")
        return frame, start, length

    def attributes(self):
        pairs = self.pairs()
        names = [name for name, _ in pairs]
        need(names == sorted(set(names)), "the order of attributes")
        return pairs

    def inode(self):
        i = Inode()
        i.kind, flags = self.u8(), self.u8()
        need(i.kind < 7 and flags < 8, "an inode")
        i.number, i.mode = self.varint(40), self.varint()
        need(i.mode <= 0o7777, "a mode")
        i.uid, i.gid, i.nlink, i.rdev = (self.varint(32) for _ in range(4))
        i.size, i.allocated = self.varint(63), self.varint()
        i.times = [self.time() for _ in range(4)]
        i.read_only = bool(flags & 1)
        i.identity = (self.realm(), self.uid()) if flags & 2 else None
        i.origin = (self.varint(), self.bytes(), self.time()) if flags & 4 else None
        form = self.u8()
        need(form < 3, "the form of attributes")
        i.attributes = self.attributes() if form == 1 else []
        i.attribute_frame = (self.address(), self.varint(32)) if form == 2 else None
        form = self.u8()
        need(form in {0: (1, 2, 3), 1: (4,), 2: (1,)}.get(i.kind, (0,)), "the form of content")
        i.inline = self.bytes() if form == 1 else b""
        i.extents = self.list(lambda: (self.varint(), self.extent())) if form == 2 else None
        i.tree = self.address() if form == 3 else 0
        i.directory = self.directory() if form == 4 else None
        if i.extents is not None:
            check_extents(i.extents)
        return i

    def directory(self):
        d = Directory()
        d.root, d.count, d.subdirectories = self.root(), self.varint(), self.varint(32)
        d.totals = [self.varint() for _ in range(6)]
        realm = self.u8()
        need(realm in (0, 1, 2, 3, 5, 6, 7), "a scope")
        d.scope, d.read_only = realm & 3, bool(realm & 4)
        d.side = self.root() if realm else 0
        return d

    def entry(self):
        form = self.u8()
        need(form < 2, "an entry")
        return self.side_key() if form else self.inode()

    def realm_value(self):
        number = self.varint(24)
        return ("uses", number, self.varint()) if number else ("free", self.varint(24))

    def realm_key(self):
        what = self.u8()
        need(what < 2, "a key of the tree of realms")
        return what, self.varint(24) if what else self.uid()


class Inode:
    def identities(self):
        if self.directory is None:
            return int(self.identity is not None)
        return (self.directory.totals[4] + self.directory.totals[5] + int(self.directory.scope in (1, 2)))


class Directory:
    pass


def check_extents(extents):
    end = 0
    for offset, (_, _, length) in extents:
        need(offset >= end, "extents overlap")
        end = offset + length
        need(end < 1 << 63, "the end of an extent")


def lz4(data, length):
    out, at = bytearray(), 0

    def more(value):
        nonlocal at
        if value == 15:
            while True:
                value += data[at]
                at += 1
                if data[at - 1] != 255:
                    break
        return value

    while at < len(data):
        token = data[at]
        at += 1
        literals = more(token >> 4)
        out += data[at : at + literals]
        at += literals
        if at == len(data):
            break
        offset = data[at] | data[at + 1] << 8
        at += 2
        need(0 < offset <= len(out), "an lz4 block")
        for _ in range(more(token & 15) + 4):
            out.append(out[-offset])
    need(len(out) == length, "the length of an lz4 block")
    return bytes(out)


# ---- objects ----


def unseal(data, magic):
    need(data[:8] == magic, f"the magic {magic}")
    need(crc32c(data[:-4]) == int.from_bytes(data[-4:], "little"), f"the checksum of {magic}")
    need(int.from_bytes(data[8:12], "little") == VERSION, f"the version of {magic}")
    return Reader(data[12:-4])


def table_changes(r):
    table = {}
    for _ in range(r.varint()):
        segment, flag = r.varint(40), r.u8()
        need(segment and flag < 2, "a change of the segment table")
        table[segment] = [r.varint(), r.varint(), *(r.varint() for _ in range(5))] if flag else None
    return table


class Pool:
    def __init__(self, directory):
        self.directory, self.shapes = directory, set()
        if not directory:
            return
        names = sorted(os.listdir(self.path("pool/manifests")))
        need(all(len(name) == 16 for name in names), "names of manifests")
        self.read_manifest(names[-1])
        self.directories, self.cache = {}, {}
        for segment in self.table:
            self.read_segment(segment)
        self.check_footers()

    def path(self, name):
        return os.path.join(self.directory, name)

    def file(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def read_manifest(self, name):
        need(self.decode_manifest(self.file(f"pool/manifests/{name}")) == int(name, 16), "the number of a manifest")

    def decode_manifest(self, data):
        r = unseal(data, b"OFFSHMAN")
        number = r.u64()
        self.epoch, self.pool_id = r.u64(), r.take(16)
        self.key, self.mask = (r.u64(), r.u64()), r.u64()
        r.time()
        self.root, self.orphans = r.inode(), r.inode()
        self.aliases, self.realms, self.ledger = r.root(), r.root(), r.root()
        self.ledger_dead = r.list(r.address)
        self.garbage = r.list(lambda: (r.address(), r.u8()))
        self.born = r.list(lambda: (r.address(), r.u8()))
        self.next_number, self.next_realm, self.next_segment = r.varint(), r.realm(), r.varint()
        self.sequence, self.log, self.newest_log, self.durable = (r.varint() for _ in range(4))
        self.abandoned = r.varint()
        self.uncounted = r.list(lambda: (r.u64(), r.u64()))
        base = r.varint()
        self.table = {}
        if base and self.directory:
            t = unseal(self.file(f"pool/tables/{base:016x}"), b"OFFSHTAB")
            self.table = table_changes(t)
            t.end()
        self.table.update(table_changes(r))
        self.table = {segment: record for segment, record in self.table.items() if record}
        self.log_in_store = r.at < len(r.data) and r.u8() == 1
        r.end()
        return number

    def object(self, segment):
        epoch, number = self.table[segment][:2]
        name = f"pool/segments/{number:010x}-{epoch:08x}"
        if name not in self.cache:
            data = self.file(name)
            header = struct.unpack("<8sIIQ", data[:24])
            need(header == (b"OFFSHSEG", VERSION, 0, epoch), f"the header of {name}")
            self.cache[name] = data
        return self.cache[name]

    def read_segment(self, segment):
        data = self.object(segment)
        offset, length = self.table[segment][2:4]
        encoded = data[offset : offset + length]
        checksums = crc32c(encoded[:-4], crc32c(self.pool_id)), crc32c(encoded[:-4])
        need(int.from_bytes(encoded[-4:], "little") in checksums, "the checksum of a directory")
        r = Reader(encoded[:-4])
        need(r.u64() == segment, "the segment of a directory")
        items, index = {}, -1
        for _ in range(r.varint()):
            index += 1 + r.varint()
            offset, stored, raw = r.varint(), r.varint(), r.varint()
            kind, codec, checksum = r.u8(), r.u8(), r.u32()
            need(index < 1 << 24 and raw <= 16 << 20 and kind < 7 and codec < 3, "an item")
            stored = data[offset : offset + stored]
            nature = struct.pack("<QIIBB", segment, index, raw, kind, codec)
            need(crc32c(stored, crc32c(nature)) == checksum, "the checksum of an item")
            items[index] = (kind, codec, raw, stored)
        r.end()
        self.directories[segment] = items

    def check_footers(self):
        for name, data in self.cache.items():
            length, checksum, magic = struct.unpack("<II8s", data[-16:])
            footer = data[-16 - length : -16]
            need(magic == b"OFFSHEND" and crc32c(footer) == checksum, f"the footer of {name}")
            r = Reader(footer)
            for segment, offset, length in r.list(lambda: (r.u64(), r.u64(), r.u32())):
                need(int.from_bytes(data[offset : offset + 8], "little") == segment, "a footer's list")
            r.end()

    def item(self, address, kind):
        segment, index = address >> 24, address & 0xFFFFFF
        need(segment in self.directories and index in self.directories[segment], f"item {address:x} is missing")
        found, codec, raw, stored = self.directories[segment][index]
        need(found == kind, f"item {address:x} has the kind {found}, not {kind}")
        if codec == 1:
            return lz4(stored, raw)
        if codec == 2:
            if zstd is None:
                raise Unreadable("this Python has no Zstandard")
            stored = zstd.decompress(stored)
        need(len(stored) == raw, "the raw length of an item")
        return stored

    # ---- trees ----

    def node(self, address, kind):
        entries, is_leaf = self.decode_node(self.item(address, kind), kind)
        for _, value in entries:
            below = links_of(value, kind) if is_leaf else [(value[0], kind)]
            need(all(child < address for child, kind in below if kind), "a node that was stored before its child")
        return entries, is_leaf

    def decode_node(self, data, kind):
        """Keys with their values, or with children and weights; and whether it is a leaf."""
        r = Reader(data)
        need(r.u8() == kind, "the kind of a node")
        branch = r.u8()
        need(branch < 2, "a node")
        self.shapes.add((kind, branch))
        key, value = {
            1: (lambda: (r.u64(), r.bytes()), r.entry),
            2: (r.varint, r.extent),
            3: (r.side_key, r.inode),
            4: (lambda: (r.uid(), r.uid(), r.uid()), r.realm),
            5: (r.varint, lambda: r.varint(32)),
            6: (r.realm_key, r.realm_value),
        }[kind]
        entries = r.list(lambda: (key(), (r.address(), r.varint()) if branch else value()))
        r.end()
        keys = [key for key, _ in entries]
        need(all(one < next for one, next in zip(keys, keys[1:])), f"the order of a {TREES[kind]} node")
        need(entries or not branch, "an empty branch")
        return entries, not branch

    def entries(self, root, kind):
        """All entries of a tree, in order. Checks bounds and weights on the way."""
        return self.below(root, kind, None, None)[0] if root else []

    def below(self, address, kind, low, high):
        entries, is_leaf = self.node(address, kind)
        if is_leaf:
            need(all((low is None or low <= key) and (high is None or key < high) for key, _ in entries), "bounds")
            return entries, sum(weight(kind, value) for _, value in entries)
        found, total = [], 0
        for n, (key, (child, stated)) in enumerate(entries):
            upper = entries[n + 1][0] if n + 1 < len(entries) else high
            part, real = self.below(child, kind, key if n else low, upper)
            need(real == stated, f"the weight of a {TREES[kind]} branch")
            found += part
            total += real
        return found, total


def weight(kind, value):
    if kind == 1:
        return value.identities() if isinstance(value, Inode) else 0
    if kind == 2:
        return value[2]
    if kind == 3:
        return int(value.identity is not None)
    if kind == 6:
        return value[1] if value[0] == "free" else (1 << 32) * (value[2] == 0)
    return 1


# ---- what can be seen ----


def escaped(name):
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
    return "".join(chr(byte) if byte in plain else f"%{byte:02x}" for byte in name)


def time_text(time):
    return f"{time[0]}.{time[1]:09}"


class Description:
    def __init__(self, pool):
        self.pool, self.lines, self.frames = pool, [], {}
        self.aliases = {key: realm for key, realm in pool.entries(pool.aliases, 4)}
        self.uses = {}
        for (_, _, _), (_, uid) in self.aliases.items():
            self.uses[uid] = self.uses.get(uid, 0) + 1

    def realm_of(self, inode, outer):
        """The realm of an inode that lies in a directory of the realm `outer`."""
        if inode.identity is None:
            return outer
        realm, home = inode.identity
        if outer[1] == home:
            return realm
        return self.aliases.get((outer[1], home, realm[1]))

    def use(self, inode, outer):
        if inode.identity and inode.identity[1] == outer[1] and outer != (0, 1) and inode.identity[0][0]:
            uid = inode.identity[0][1]
            self.uses[uid] = self.uses.get(uid, 0) + 1

    def run(self):
        root = self.pool.root
        self.line("/", root, (0, 0), False)
        totals = self.directory("", root, (0, 0), False, {})
        orphans = self.pool.orphans
        self.lines_kept, self.lines = self.lines, []
        self.directory("", orphans, (0, 1), False, {}, hashed=False)
        self.lines = self.lines_kept
        linked = sum(inode.allocated for _, inode in self.pool.entries(root.directory.side, 3) if inode.nlink)
        return totals, linked

    def directory(self, path, inode, realm, read_only, side, hashed=True):
        d = inode.directory
        read_only = read_only or d.read_only
        if d.scope:
            side = dict(self.pool.entries(d.side, 3))
            for key, linked in side.items():
                need(key[2] == linked.number, "the number of a linked inode")
                foreign = (linked.identity[1] + 1, linked.identity[0][1]) if linked.identity else (0, 0)
                need(key[:2] == foreign, "the key of a linked inode")
                if d.scope != 3:
                    self.use(linked, realm)
        totals = [0] * 6
        subdirectories = 0
        entries = self.pool.entries(d.root, 1)
        need(len(entries) == d.count, f"the number of entries of {path}/")
        for (hash, name), value in entries:
            need(1 <= len(name) <= 255, "a name")
            if hashed:
                own = max((siphash13(self.pool.key, name) & self.pool.mask) >> 1, 4)
                need(hash == own, f"the hash of {name}")
            if isinstance(value, Inode):
                own = value.directory.totals if value.directory else [1, 0, value.allocated, 0, 0, 0]
                own = list(own)
                if value.directory:
                    own[1] += 1
                    own[4] += value.directory.scope in (1, 2)
                    subdirectories += 1
                else:
                    own[5] += value.identity is not None
                self.use(value, realm)
            else:
                own = [1, 0, 0, 1, 0, 0]
                need(value in side, f"what {path}/{name} leads to")
            totals = [one + other for one, other in zip(totals, own)]
        need(totals == d.totals, f"the totals of {path}/: {d.totals}, and it is {totals}")
        need(subdirectories == d.subdirectories, f"the directories in {path}/")
        for (_, name), value in sorted(entries, key=lambda entry: entry[0][1]):
            child = value if isinstance(value, Inode) else side[value]
            below = f"{path}/{escaped(name)}"
            own = self.realm_of(child, realm)
            if not hashed and own is None:
                continue
            need(own is not None, f"{below} has no realm")
            self.line(below, child, own, read_only)
            if child.directory:
                self.directory(below, child, own, read_only or child.read_only, side, hashed)
        return totals

    def line(self, path, inode, realm, read_only):
        d = inode.directory
        kind = KINDS[inode.kind]
        nlink = inode.nlink if d is None else 2 + d.subdirectories
        line = f"{path} {kind} {realm[0]}.{inode.number} mode={inode.mode:o} nlink={nlink}"
        size = d.count if d else inode.size
        ro = int(read_only or inode.read_only or bool(d and d.read_only))
        clone = int(bool(d and d.scope in (1, 2)))
        others = [("size", size), ("allocated", inode.allocated), ("uid", inode.uid), ("gid", inode.gid)]
        others += [("rdev", inode.rdev), ("ro", ro), ("clone", clone)]
        line += "".join(f" {name}={value}" for name, value in others if value)
        times = inode.times if len(set(inode.times)) > 1 else inode.times[:1]
        line += " times=" + ",".join(time_text(time) for time in times)
        attributes = inode.attributes
        if inode.attribute_frame:
            frame, length = inode.attribute_frame
            data = self.pool.item(frame, 0)
            need(len(data) == length, "the length of attributes")
            r = Reader(data)
            attributes = r.attributes()
            r.end()
        line += "".join(f" {escaped(name)}={fnv(value):016x}" for name, value in attributes)
        if inode.origin:
            number, origin, time = inode.origin
            line += f" origin={number >> 40}.{number & (1 << 40) - 1},{escaped(origin)},{time_text(time)}"
        if kind == "symlink":
            line += f" target={fnv(inode.inline):016x}"
        if kind == "file":
            line += f" content={self.content(inode):016x}"
        self.lines.append(line)

    def content(self, inode):
        """A hash of all blocks of 4096 bytes that are not zeros, each with its number in front."""
        extents = inode.extents
        if inode.tree:
            extents = self.pool.entries(inode.tree, 2)
            check_extents(extents)
        blocks = {}

        def put(offset, data):
            while data:
                block, within = divmod(offset, 4096)
                part = data[: 4096 - within]
                blocks.setdefault(block, bytearray(4096))[within : within + len(part)] = part
                offset, data = offset + len(part), data[len(part) :]

        put(0, inode.inline)
        total = len(inode.inline)
        for offset, (frame, start, length) in extents or []:
            if frame not in self.frames:
                self.frames[frame] = self.pool.item(frame, 0)
            data = self.frames[frame]
            need(1 <= len(data) <= 131072 and start + length <= len(data), "an extent ends behind its frame")
            put(offset, data[start : start + length])
            total += length
            need(offset + length <= inode.size, "an extent ends behind its file")
        need(total == inode.allocated, f"allocated bytes: {inode.allocated}, and it is {total}")
        value = fnv(b"")
        for block in sorted(blocks):
            data = bytes(blocks[block])[: inode.size - block * 4096]
            if any(data):
                value = fnv(data, fnv(struct.pack("<Q", block), value))
        return value


# ---- counts ----


def links_of(value, kind):
    """What an entry refers to."""
    if kind == 2:
        return [(value[0], 0)]
    if not isinstance(value, Inode):
        return []
    links = [(frame, 0) for _, (frame, _, _) in value.extents or []]
    if value.tree:
        links.append((value.tree, 2))
    if value.attribute_frame:
        links.append((value.attribute_frame[0], 0))
    if value.directory:
        links += [(root, kind) for root, kind in ((value.directory.root, 1), (value.directory.side, 3)) if root]
    return links


def check_counts(pool):
    counts, kinds = {}, {}
    work = links_of(pool.root, 1) + links_of(pool.orphans, 1) + pool.garbage
    work += [(root, kind) for root, kind in ((pool.aliases, 4), (pool.realms, 6)) if root]
    while work:
        address, kind = work.pop()
        counts[address] = counts.get(address, 0) + 1
        need(kinds.setdefault(address, kind) == kind, "an item of two kinds")
        if counts[address] > 1 or kind == 0:
            continue
        entries, is_leaf = pool.node(address, kind)
        for _, value in entries:
            work += links_of(value, kind) if is_leaf else [(value[0], kind)]
    ledger_nodes, work = set(pool.ledger_dead), [pool.ledger] if pool.ledger else []
    while work:
        address = work.pop()
        ledger_nodes.add(address)
        entries, is_leaf = pool.node(address, 5)
        work += [] if is_leaf else [child for _, (child, _) in entries]
    ledger = dict(pool.entries(pool.ledger, 5))
    born = {address for address, _ in pool.born}
    for segment, items in pool.directories.items():
        live = size = 0
        for index, (_, _, _, stored) in items.items():
            address = segment << 24 | index
            stated = ledger.get(address, 1)
            if stated:
                live, size = live + 1, size + len(stored)
            if address in counts:
                need(stated == counts[address], f"{address:x} has {counts[address]} links, and the ledger says {stated}")
            else:
                known = stated == 0 or address in ledger_nodes or address in born
                need(known or any(a <= address < b for a, b in pool.uncounted), f"{address:x} is nowhere")
        record = pool.table[segment]
        need(record[5:] == [live, size], f"segment {segment:x} has {live} live items of {size} bytes, not {record[5:]}")
    need(all(address >> 24 in pool.directories for address in counts), "an item in no segment")
    return len(counts)


def check_realms(pool, uses):
    entries = pool.entries(pool.realms, 6)
    taken = {}
    for (what, key), value in entries:
        if what == 0:
            need(value[0] == "uses" and value[2] == uses.pop(key, 0), f"uses of realm {key}")
            numbers = [value[1]]
        else:
            need(value[0] == "free", "a range")
            numbers = range(key - value[1] + 1, key + 1)
        for number in numbers:
            need(number not in taken, f"realm id {number} twice")
            taken[number] = what
    need(not uses, f"realms that are not in their tree: {uses}")
    need(sorted(taken) == list(range(1, pool.next_realm[0])), "every id is taken or free")
    return sum(1 for what in taken.values() if what == 0)


# ---- log ----


def read_log(pool):
    key = crc32c(pool.pool_id + struct.pack("<QQ", *pool.key))
    reached, operations, tags = pool.sequence, 0, set()
    files = sorted(int(name[4:], 16) for name in os.listdir(pool.path("log")))
    need(set(range(pool.log, pool.newest_log + 1)) <= set(files), "log files are missing")
    for number in files:
        data, at = pool.file(f"log/log-{number:016x}"), 0
        while len(data) - at >= 48:
            head = data[at : at + 48]
            magic, version, file, first, durable, count, length, checksum, own = struct.unpack("<IIQQQIIII", head)
            if magic != 0x4753464F or file != number or crc32c(head[:44], key) != own:
                break
            payload = data[at + 48 : at + 48 + length]
            if len(payload) < length or crc32c(payload) != checksum:
                break
            need(version == VERSION, "the version of a batch")
            found = read_records(payload, tags)
            need(found == count and (first == 0) == (count == 0), "operations of a batch")
            if number >= pool.log:
                need(count == 0 or first <= reached + 1, "the sequence of a batch")
                need(durable <= reached, "more was durable than was written")
                reached = max(reached, first + count - 1 if count else 0)
            operations += count
            at += 48 + length
    need(reached >= pool.durable, "what was durable is there")
    return operations, tags


def read_records(payload, tags):
    r, count = Reader(payload), 0
    ino, name, flag = r.varint, r.bytes, r.u8

    def new():
        need(r.u8() < 7, "a type")
        return [r.varint(32) for _ in range(4)], r.bytes(), r.pairs()

    def links():
        return r.list(lambda: (r.side_key(), r.varint(32)))

    def optional(*fields):
        return [r.option(field) for field in fields]

    shapes = {
        16: lambda: (ino(), name(), new()),
        17: lambda: (ino(), new()),
        18: lambda: (ino(), ino(), name()),
        19: lambda: (ino(), name()),
        20: lambda: (ino(), name()),
        21: lambda: (ino(), name(), links()),
        22: lambda: (ino(), name(), ino(), name(), flag()),
        23: lambda: (ino(), ino(), name(), flag(), r.bytes(), links()),
        24: lambda: (ino(), optional(*[r.varint] * 4), optional(*[r.time] * 3)),
        25: lambda: (ino(), optional(r.varint), flag(), r.bytes()),
        26: lambda: (ino(), optional(r.varint), flag(), r.list(lambda: (r.varint(32), r.address()))),
        27: lambda: (ino(), r.varint(), r.varint(), flag()),
        28: lambda: (ino(), r.varint(), ino(), r.varint(), r.varint()),
        29: lambda: (ino(), name(), r.bytes(), flag(), optional(r.varint)),
        30: lambda: (ino(), name()),
        31: lambda: (r.uid(), r.uid(), r.uid()),
        32: ino,
        33: lambda: (ino(), r.varint(32)),
        34: lambda: (r.realm(), r.varint(32)),
        35: lambda: (ino(), r.address(), r.list(lambda: (r.varint(), r.varint(32)))),
    }
    while r.at < len(payload):
        tag = r.u8()
        tags.add(tag)
        if tag == 1:
            ino(), ino(), r.u64(), name(), flag()
        elif tag == 2:
            ino(), ino(), r.side_key()
        else:
            need(tag in shapes, f"tag {tag}")
            r.time()
            shapes[tag]()
            count += 1
    return count


def check_encrypted(directory):
    """What an encrypted pool says in plain."""
    path = os.path.join(directory, "pool", "manifests")
    for name in sorted(os.listdir(path)):
        with open(os.path.join(path, name), "rb") as file:
            slots = read_envelope(file.read())
    path, objects = os.path.join(directory, "pool", "segments"), 0
    for name in os.listdir(path):
        with open(os.path.join(path, name), "rb") as file:
            data = file.read()
        need(data[:8] == b"OFFSHSEG" and data[12:16] == b"\1\0\0\0", f"the header of {name}")
        need(data[-8:] == b"OFFSHEND", f"the tail of {name}")
        length, checksum = struct.unpack("<II", data[-16:-8])
        need(crc32c(data[-16 - length : -16]) == checksum, f"the footer of {name}")
        objects += 1
    return f"encrypted, not read; {slots} slots, {objects} objects of segments"


def read_envelope(data):
    r = unseal(data, b"OFFSXMAN")
    r.take(16)
    slots = r.varint()
    need(1 <= slots <= 8, "the number of slots")
    for _ in range(slots):
        r.varint()
        kind = r.u8()
        need(kind in (1, 2), "the kind of a slot")
        if kind == 1:
            need(r.varint() >= 8 and r.varint() >= 1 and r.varint() >= 1, "what a password costs")
        r.take(32 + 48)
    need(len(r.bytes()) > 48 and len(r.bytes()) > 52, "pool keys and box")
    need(r.at == len(r.data), "bytes are left over")
    return slots


def is_encrypted(directory):
    path = os.path.join(directory, "pool", "manifests")
    with open(os.path.join(path, max(os.listdir(path))), "rb") as file:
        return file.read(8) == b"OFFSXMAN"


def check(directory):
    if is_encrypted(directory):
        return check_encrypted(directory)
    pool = Pool(directory)
    operations, tags = read_log(pool)
    said = f"{len(pool.table)} segments, {operations} operations in the log, of {len(tags)} kinds"
    try:
        description = Description(pool)
        totals, linked = description.run()
        items = check_counts(pool)
        realms = check_realms(pool, description.uses)
    except Unreadable as reason:
        return f"checksums and log alone, since {reason}; {said}"
    files, directories, size = totals[0], totals[1] + 1, totals[2]
    with open(os.path.join(directory, "expected.txt")) as file:
        expected = file.read().splitlines()
    replayed = any(name == "log" for name in directory.split(os.sep)[-1:])
    if not replayed:
        for seen, wanted in zip(description.lines, expected):
            need(seen == wanted, f"a line differs:\n  {seen}\n  {wanted}")
        need(len(description.lines) == len(expected) - 1, "the number of lines differs")
        for part in (f"files={files}", f"directories={directories}"):
            need(part in expected[-1].split(), f"{part}, and expected is {expected[-1]}")
    said = f"{len(pool.shapes)} of 12 shapes of nodes, {said}"
    return f"{len(description.lines)} inodes, {items} items counted, {realms} realms; {said}"


def check_encodings(path):
    """Every sample of a record, whether a pool has one or not."""
    pool, count, tags = Pool(None), 0, set()
    with open(path) as file:
        for line in file:
            name, encoded = line.split(": ")
            data, count = bytes.fromhex(encoded), count + 1
            if name.startswith("node"):
                pool.decode_node(data, data[0])
            elif name.startswith("record"):
                read_records(data, tags)
            elif name.startswith("manifest"):
                pool.decode_manifest(data)
                lists = [pool.ledger_dead, pool.garbage, pool.born, pool.uncounted, pool.table]
                need(all(lists), "the sample of a manifest has something in each of its lists")
                need(pool.log_in_store == ("store" in name), "where the log is")
            elif name == "descent":
                r = unseal(data, b"OFFSHDSC")
                need((r.u64(), r.u64()) == (3, 4), "the number of a fork and of its first manifest")
                r.end()
            elif name == "segment table":
                need(table_changes(unseal(data, b"OFFSHTAB")), "the sample of a table has a segment")
            elif name.startswith("encrypted manifest"):
                need(read_envelope(data) == 1, "the sample of an encrypted manifest has one slot")
            elif name == "attributes in a frame":
                Reader(data).attributes()
    need(len(pool.shapes) == 12, "leaves and branches of all trees")
    need(tags == {1, 2, *range(16, 36)}, "records of all tags")
    return f"{count} samples"


def main():
    failed = 0
    for directory in sys.argv[1:]:
        try:
            checked = check_encodings(directory) if os.path.isfile(directory) else check(directory.rstrip(os.sep))
            print(f"{directory}: {checked}")
        except Corrupt as reason:
            failed += 1
            print(f"{directory}: {reason}")
    sys.exit(1 if failed or len(sys.argv) < 2 else 0)


main()
