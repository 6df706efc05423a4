#!/usr/bin/env python3
"""A device in plain Python, made from core/FORMAT.md and device-proto/WIRE.md alone, in the order of their sections.

It measures the climate of two rooms, sends every measurement but a few that it drops half-way, and ends when the host
has stored them all. Then it prints what it sent, as one line of JSON.
"""

import argparse
import hashlib
import json
import os
import random
import select
import struct
import time
import tty
from dataclasses import dataclass, replace

# FORMAT.md: the numbers that everything is made of


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def zigzag(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def crc_of_byte(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_TABLE = [crc_of_byte(byte) for byte in range(256)]


def crc(data):
    state = 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ CRC_TABLE[(state ^ byte) & 0xFF]
    return state ^ 0xFFFFFFFF


# FORMAT.md, 1. Archived events: a struct of u32, f32 and a string


def archive(event):
    numbers, note = struct.pack("<If", event["nth"], event["temperature"]), event["note"].encode()
    if len(note) <= 8:
        return numbers + note.ljust(8, b"\xff")
    marked = len(note) & 0x3F | 0x80 | len(note) >> 6 << 8
    return note + numbers + struct.pack("<Ii", marked, -(len(note) + len(numbers)))


# FORMAT.md, 2. Descriptors


def text(string):
    return varint(len(string.encode())) + string.encode()


U32, F32, STRING, STRUCT, NAMED, UNIT, DOC = (bytes([code]) for code in (0x04, 0x0C, 0x20, 0x26, 0x02, 0x30, 0x31))
DESCRIPTOR = b"".join([
    bytes([1]), STRUCT, text("Climate"), NAMED, varint(3),
    text("nth"), U32,
    text("temperature"), UNIT, text("Cel"), DOC, text("Of the air, in the shade."), F32,
    text("note"), STRING,
])
DESCRIPTOR_HASH = hashlib.sha256(DESCRIPTOR).digest()[:8]

# FORMAT.md, 3. Batch: several channels, a length for each event, time as deltas


def sealed_batch(events):
    """Of (channel, ticks, archived event) triples."""
    runs = []
    for channel, _, _ in events:
        if runs and runs[-1][0] == channel:
            runs[-1][1] += 1
        else:
            runs.append([channel, 1])
    archived = b"".join(event for _, _, event in events)
    ticks = [ticks for _, ticks, _ in events]
    return b"".join([
        bytes([2 | 2 << 2 | 1 << 4, len(events) - 1, len(runs) - 1]), varint(len(archived)), archived,
        *(bytes([channel, length - 1]) for channel, length in runs),
        *(varint(len(event)) for _, _, event in events),
        varint(ticks[0]), *(zigzag(later - earlier) for earlier, later in zip(ticks, ticks[1:])),
    ])


# WIRE.md, 1. Frame

DISCOVER, WELCOME, ACK, FETCH, REFUSE = 0x81, 0x82, 0x83, 0x84, 0x85
HELLO, START, BATCH, GAP, DESCRIPTOR_PIECE, STATUS = 1, 2, 3, 4, 5, 6
HANDSHAKE, FROM_HOST = {DISCOVER, HELLO, WELCOME, REFUSE}, 0x80


def cobs(data):
    blocks = []
    for piece in data.split(b"\0"):
        while len(piece) >= 254:
            blocks.append(b"\xff" + piece[:254])
            piece = piece[254:]
        blocks.append(bytes([len(piece) + 1]) + piece)
    return b"".join(blocks)


def cobs_decoded(line):
    data = b""
    while line:
        code, block, line = line[0], line[1:line[0]], line[line[0]:]
        if len(block) != code - 1:
            return b""
        data += block + (b"\0" if code < 255 and line else b"")
    return data


def frame(kind, body, seal):
    content = bytes([kind]) + body
    return cobs(content + crc(seal + content).to_bytes(4, "little")) + b"\0"


def session_seal(session):
    return session.to_bytes(4, "little")


def opened(line, session):
    """The kind and the body of a host's frame whose check is right."""
    decoded = cobs_decoded(line)
    content, trailer = decoded[:-4], int.from_bytes(decoded[-4:], "little")
    if not content or content[0] & FROM_HOST == 0:
        return None
    seal = bytes(4) if content[0] in HANDSHAKE else session_seal(session)
    return (content[0], Body(content[1:])) if crc(seal + content) == trailer else None


# WIRE.md, 2. Messages: postcard


class Body:
    """What is left of a message. A ValueError tells that it is none."""

    def __init__(self, data):
        self.data = data

    def take(self, length):
        if len(self.data) < length:
            raise ValueError("a message is cut short")
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def u8(self):
        return self.take(1)[0]

    def varint(self, bits):
        number = shift = 0
        while (byte := self.u8()) & 0x80:
            number, shift = number | (byte & 0x7F) << shift, shift + 7
        if (number := number | byte << shift) >> bits:
            raise ValueError("a number is too large for its type")
        return number

    def u32(self):
        return self.varint(32)

    def u64(self):
        return self.varint(64)


@dataclass
class Batch:
    first: int
    count: int
    sealed: bytes

    def check(self):
        return crc(self.sealed)

    def credit(self):
        return len(self.sealed)

    def frame(self, session):
        seal = session_seal(session) + (self.first >> 16).to_bytes(6, "little")
        return frame(BATCH, (self.first & 0xFFFF).to_bytes(2, "little") + self.sealed, seal)


@dataclass
class Gap:
    first: int
    count: int
    reason: int

    def check(self):
        return crc(struct.pack("<QQB", self.first, self.count, self.reason))

    def credit(self):
        return 32

    def frame(self, session):
        body = bytes([LANE]) + varint(self.first) + varint(self.count) + bytes([self.reason])
        return frame(GAP, body, session_seal(session))


def end(held):
    return held.first + held.count


# WIRE.md, 3. The session, and 4. Sending

VERSION, FEATURES, LANE = 1, 0, 0
RESET_UNKNOWN, OUTBOX_FULL, OUT_OF_ORDER = 0, 1, 1
TICK_HZ, IN_FLIGHT, PIECE_LEN = 1_000_000, 32_767, 512
FIRST_WAIT, LONGEST_WAIT, STATUS_EVERY, SILENCE = 0.25, 4.0, 1.0, 3.0


class Device:
    def __init__(self, line, serial):
        self.line, self.id = line, int.from_bytes(hashlib.sha256(serial.encode()).digest()[:7], "little")
        self.incarnation = self.epoch = 0
        self.held, self.next, self.chain = [], 0, 0  # The chain at the oldest.
        self.entropy, self.attempt, self.session, self.admitted = os.urandom(32), 0, 0, 0
        self.hello_wait, self.hello_at = FIRST_WAIT, now() + FIRST_WAIT

    def hold(self, held):
        self.held.append(held)
        self.next = end(held)

    def oldest(self):
        return self.held[0].first if self.held else self.next

    def handle(self, line):
        if not (message := opened(line, self.session)):
            return
        kind, body = message
        handlers = {DISCOVER: self.handle_discover, WELCOME: self.handle_welcome, REFUSE: self.handle_refuse}
        if self.session and kind in (ACK, FETCH):
            handlers = {ACK: self.handle_ack, FETCH: self.handle_fetch}
            self.started, self.heard_at = True, now()
        try:
            handlers.get(kind, lambda body: None)(body)
        except ValueError:
            pass  # It is no message, and changes nothing.

    # The handshake

    def handle_discover(self, body):
        _version_min, _version_max, nonce = body.u8(), body.u8(), body.u32()
        if nonce == 0:
            return
        self.entropy = hashlib.sha256(self.entropy + nonce.to_bytes(4, "little")).digest()
        self.attempt = self.attempt or int.from_bytes(self.entropy[:4], "little") | 1
        self.send_hello(nonce, self.attempt)

    def send_hello(self, discover, nonce):
        channels = [text("stranger.climate") + bytes([room, LANE, 0]) + DESCRIPTOR_HASH for room in ROOMS]
        self.line.send(b"\0" + frame(HELLO, b"".join([
            bytes([VERSION, VERSION]), varint(FEATURES),
            varint(discover), varint(nonce), varint(self.session),
            varint(self.id), varint(self.incarnation), varint(self.epoch),
            bytes([RESET_UNKNOWN]), varint(TICK_HZ), varint(ticks()),
            varint(1), varint(self.oldest()), varint(self.next),
            varint(len(channels)), *channels,
        ]), bytes(4)))
        self.hello_at, self.hello_wait = now() + self.hello_wait, min(2 * self.hello_wait, LONGEST_WAIT)

    def handle_welcome(self, body):
        nonce, version, _features, session = body.u32(), body.u8(), body.u32(), body.u32()
        incarnation, epoch, rebase, lanes, host_next = body.u64(), body.u32(), body.u8(), body.u32(), body.u64()
        if session == self.session:
            return None if self.started else self.send_start()
        ours = rebase or self.epoch == 0 or (incarnation, epoch) == (self.incarnation, self.epoch)
        base = self.oldest() if rebase else 0
        if 0 in (nonce, session, incarnation, epoch) or (nonce, version, lanes) != (self.attempt, VERSION, 1):
            return
        if not ours or host_next > self.next - base:
            return
        if rebase:
            self.held = [replace(held, first=held.first - base) for held in self.held]
            self.next, self.chain = self.next - base, 0
        self.incarnation, self.epoch = incarnation, epoch
        self.session, self.admitted, self.attempt = session, nonce, 0
        self.begin(host_next)

    def begin(self, host_next):
        self.first, self.first_chain = self.oldest(), self.chain
        for held in self.held:
            if end(held) <= host_next:
                self.first, self.first_chain = end(held), chained(self.first_chain, held)
        self.durable, self.received, self.send_next, self.sent = 0, self.first, self.first, self.first
        self.credit, self.again_at, self.timed, self.return_from = 0, None, None, now()
        self.round_trip, self.started = RoundTrip(), False
        self.heard_at, self.status_at, self.start_wait = now(), now() + STATUS_EVERY, FIRST_WAIT
        self.send_start()

    def send_start(self):
        self.send(START, varint(1) + varint(self.first) + varint(self.first_chain))
        self.start_at, self.start_wait = now() + self.start_wait, min(2 * self.start_wait, LONGEST_WAIT)

    def handle_refuse(self, body):
        nonce, _reason = body.u32(), body.u8()
        if nonce and nonce in (self.attempt, self.admitted):
            self.attempt = 0
            self.leave(LONGEST_WAIT)

    def leave(self, rest):
        self.session, self.admitted = 0, 0
        self.hello_wait, self.hello_at = FIRST_WAIT, now() + rest

    def run_timers(self):
        if not self.session:
            if now() >= self.hello_at:
                self.send_hello(0, 0)
            return
        if now() >= self.heard_at + SILENCE:
            return self.leave(FIRST_WAIT)
        if not self.started and now() >= self.start_at:
            self.send_start()
        if now() >= self.status_at:
            self.send(STATUS, varint(1) + varint(self.next) + varint(ticks()))
            self.status_at = now() + STATUS_EVERY
        if self.again_at and now() >= self.again_at:
            self.round_trip.doublings += 1
            self.send_again()
        self.send_held()

    # Sending

    def send(self, kind, body):
        self.line.send(frame(kind, body, session_seal(self.session)))

    def send_held(self):
        while (held := self.next_to_send()) and self.may_send(held):
            self.line.send(held.frame(self.session))
            if end(held) > self.sent:
                self.timed = self.timed or (end(held), now())
            self.send_next, self.sent = end(held), max(self.sent, end(held))
            self.again_at = self.again_at or now() + self.round_trip.limit()

    def next_to_send(self):
        return next((held for held in self.held if held.first == self.send_next), None)

    def may_send(self, held):
        under_way = [other for other in self.held if self.received <= other.first < self.send_next]
        return (sum(other.credit() for other in under_way) < self.credit
                and not any(isinstance(other, Gap) for other in under_way)
                and end(held) - self.received <= IN_FLIGHT)

    def send_again(self):
        self.send_next, self.again_at, self.timed = self.received, None, None

    def handle_ack(self, body):
        lane, received, durable, credit, flags = body.u8(), body.u64(), body.u64(), body.u32(), body.u8()
        boundaries = {self.received, *map(end, self.held)}
        if lane != LANE or received < self.received or durable < self.durable:
            return
        if durable > received or received > self.sent or received not in boundaries:
            return
        if received > self.received:
            self.progress(received)
        self.durable, self.credit = durable, credit
        while self.held and end(self.held[0]) <= durable:
            self.chain = chained(self.chain, self.held.pop(0))
        if flags & OUT_OF_ORDER and self.received < self.send_next and now() >= self.return_from:
            self.return_from = now() + self.round_trip.longest()
            self.send_again()

    def progress(self, received):
        self.received, self.send_next = received, max(received, self.send_next)
        self.round_trip.doublings = 0
        if self.timed and self.timed[0] <= received:
            self.round_trip.measure(now() - self.timed[1])
            self.timed = None
        self.again_at = now() + self.round_trip.limit() if received < self.send_next else None

    # WIRE.md, 5. Receiving: what the host fetches

    def handle_fetch(self, body):
        wanted, offset = body.take(8), body.varint(16)
        descriptor = DESCRIPTOR if wanted == DESCRIPTOR_HASH else b""
        piece = descriptor[offset:offset + PIECE_LEN]
        self.send(DESCRIPTOR_PIECE, wanted + varint(offset) + varint(len(descriptor)) + varint(len(piece)) + piece)


class RoundTrip:
    """RFC 6298, in seconds."""

    def __init__(self):
        self.mean, self.deviation, self.doublings = None, 0, 0

    def measure(self, sample):
        if self.mean is None:
            self.mean, self.deviation = sample, sample / 2
        else:
            self.deviation += (abs(self.mean - sample) - self.deviation) / 4
            self.mean += (sample - self.mean) / 8

    def longest(self):
        return 0.5 if self.mean is None else self.mean + 4 * self.deviation

    def limit(self):
        return min(max(self.longest(), 0.1) * 2 ** self.doublings, 2.0)


# WIRE.md, 6. The chain


def chained(chain, held):
    return crc(struct.pack("<II", chain, held.check()))


# The line, the measurements, and the program


def now():
    return time.monotonic()


def ticks():
    return int(now() * TICK_HZ)


class Line:
    def __init__(self, path, damage):
        self.file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.file)
        self.received, self.damage, self.damaged = b"", damage, 0

    def send(self, data):
        data = self.through_damage(bytearray(data))
        while data:
            del data[:os.write(self.file, data)]

    def through_damage(self, data):
        """Now and then loses a byte or flips a bit."""
        if self.damage and self.damage.random() < len(data) / BYTES_A_DAMAGE:
            at, mask = self.damage.randrange(len(data)), 1 << self.damage.randrange(8)
            data[at:at + 1] = self.damage.choice([b"", bytes([data[at] ^ mask])])
            self.damaged += 1
        return data

    def frames(self, patience):
        """What comes within a time, in seconds."""
        if select.select([self.file], [], [], patience)[0]:
            self.received += os.read(self.file, 4096)
        *frames, rest = self.received.split(b"\0")
        self.received = rest[-LINE_LEN_MAX:]
        return frames


# A host's frame has at most 256 bytes, and 2 of COBS; what is longer is noise.
LINE_LEN_MAX, BYTES_A_DAMAGE = 259, 10_000


class Rooms:
    """Measures two rooms in turn, and drops a few measurements half-way."""

    def __init__(self, device, events):
        self.device, self.events, self.gap, self.due = device, events, events // 2, now()
        self.next, self.sent = 0, []

    def measure(self):
        if now() < self.due or self.finished():
            return
        self.due += BATCH_EVERY
        if self.next == self.gap:
            self.next += GAP_LEN
            return self.device.hold(Gap(self.device.next, GAP_LEN, OUTBOX_FULL))
        end = min(self.next + BATCH_LEN, self.gap if self.next < self.gap else self.events)
        measured = [self.measurement(nth) for nth in range(self.next, end)]
        events = [(ROOMS.index(each["instance"]), each["ticks"], archive(each["event"])) for each in measured]
        self.device.hold(Batch(self.device.next, len(events), sealed_batch(events)))
        self.next = end
        self.sent += measured

    def measurement(self, nth):
        event = {"nth": nth, "temperature": round(nth / 10 - 40, 1), "note": "näß" * (nth % 20)}
        return {"instance": ROOMS[nth // 3 % 2], "ticks": ticks(), "event": event}

    def finished(self):
        return self.next >= self.events


ROOMS, BATCH_LEN, BATCH_EVERY, GAP_LEN = [1, 2], 16, 0.01, 5


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", help="a serial port or a pseudo-terminal")
    arguments.add_argument("--events", type=int, default=1000, help="how many to measure, at least 10")
    arguments.add_argument("--serial", default="a stranger", help="of the chip: another one is another device")
    arguments.add_argument("--damage", type=int, metavar="SEED", help="lose bytes and flip bits on the way out")
    arguments = arguments.parse_args()

    damage = None if arguments.damage is None else random.Random(arguments.damage)
    line = Line(arguments.port, damage)
    device = Device(line, arguments.serial)
    rooms = Rooms(device, max(arguments.events, 10))
    while not rooms.finished() or device.held:
        rooms.measure()
        for received in line.frames(patience=0.002):
            device.handle(received)
        device.run_timers()
    gap = {"first": rooms.gap, "len": GAP_LEN}
    print(json.dumps({"device": device.id, "gap": gap, "events": rooms.sent, "damaged": line.damaged}))


if __name__ == "__main__":
    main()
