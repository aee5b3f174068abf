"""What a client can do wrong once keys are agreed on, with tlslite-ng's client, whose messages are altered on their way."""

import contextlib
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

from hello import ALERT, CCS, DATA, HANDSHAKE, HEARTBEAT, record
from sealslot import check, expect

try:
    from tlslite.api import HandshakeSettings, TLSConnection
    from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert
    from tlslite.messages import Message
except ImportError:
    raise SystemExit("FAIL this Python has no tlslite-ng: use the one that .ci/run makes, and names in $PYTHON") from None

V12, V13 = (3, 3), (3, 4)
NAMES = {V12: "1.2", V13: "1.3"}
# Handshake messages, and alerts.
CLIENT_HELLO, SERVER_HELLO, TICKET, CERTIFICATE, KEY_EXCHANGE, FINISHED, KEY_UPDATE = 1, 2, 4, 11, 16, 20, 24
UNEXPECTED, BAD_MAC, OVERFLOW, FAILURE, ILLEGAL, DECODE, DECRYPT, NO_RENEGOTIATION = 10, 20, 22, 40, 47, 50, 51, 100
WARNING, USER_CANCELED = 1, 90
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PATIENCE = 20
# How long a connection may be that brings nothing but empty records, in seconds: many times as long as it is to be.
LONGEST = 50
FLOOD = 200


class Client(TLSConnection):
    """A connection after its handshake. `alter` is given each handshake message, and gives the bytes that are sent instead."""

    def __init__(self, port, version, alter=None):
        self.alter = alter
        self.stream = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(self.stream)
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = version
        self.handshakeClientCert(settings=settings, alpn=[bytearray(b"http/1.1")])
        self.alter = None

    def _sendMsgThroughSocket(self, msg):
        if self.alter and msg.contentType == HANDSHAKE:
            content = self.alter(bytes(msg.write()))
            if not content:
                return
            msg = Message(HANDSHAKE, bytearray(content))
        yield from super()._sendMsgThroughSocket(msg)

    def put(self, kind, content):
        """Sends a record, sealed."""
        for _ in self._recordLayer.sendRecord(Message(kind, bytearray(content))):
            pass
        self.sock.flush()

    def answer(self):
        """What comes after a request."""
        received = b""
        while b"\r\n\r\nok\n" not in received:
            chunk = bytes(self.read(max=65536, min=1))
            expect(chunk, f"closed after {received!r}")
            received += chunk
        return received

    def end(self):
        """The alert that the server ends it with; None where it is only closed."""
        try:
            while self.read(max=65536, min=1):
                pass
        except TLSRemoteAlert as alert:
            return alert.description
        except TimeoutError:
            return "still open"
        except (TLSAbruptCloseError, OSError):
            pass
        return None


def message(kind, content):
    return bytes([kind]) + len(content).to_bytes(3, "big") + content


def replacing(kind, change):
    """Alters messages of a kind; they come as `change` makes them of their content."""
    return lambda whole: change(whole[4:]) if whole[0] == kind else whole


def outcome(port, version, act, alter=None):
    """How a connection ends on which `act` was done."""
    client = None
    try:
        client = Client(port, version, alter)
        with contextlib.suppress(OSError):  # What it was told before it was closed is still to be read.
            act(client)
        return client.end()
    except TLSRemoteAlert as alert:
        return alert.description
    except TLSAbruptCloseError:
        return None
    finally:
        if client:
            client.stream.close()


def nothing(_client):
    pass


def ask(client):
    client.put(DATA, REQUEST)


def often(kind, content):
    def act(client):
        for _ in range(FLOOD):
            client.put(kind, content)

    return act


def once(kind, content):
    return lambda client: client.put(kind, content)


def flip(content):
    return bytes([content[0] ^ 1]) + content[1:]


FINISHED_WRONG = {
    "a wrong bit in it": (lambda verify: message(FINISHED, flip(verify)), {DECRYPT}),
    "a byte too few": (lambda verify: message(FINISHED, verify[:-1]), {DECRYPT, DECODE}),
    "a byte too many": (lambda verify: message(FINISHED, verify + b"\0"), {DECRYPT, DECODE}),
    "nothing in it": (lambda _: message(FINISHED, b""), {DECRYPT, DECODE}),
    # In TLS 1.2 the client waits for the server's, and the server for this one until the time is over.
    "none": (lambda _: b"", {UNEXPECTED, BAD_MAC, None}),
}


def of_both():
    """(name, act, alter, outcomes)."""
    for name, (change, outcomes) in FINISHED_WRONG.items():
        yield f"Finished, {name}", ask, replacing(FINISHED, change), outcomes
    yield "a record that nobody sealed", lambda it: it.stream.sendall(record(DATA, bytes(64))), None, {BAD_MAC}
    yield "a record that is too short to be sealed", lambda it: it.stream.sendall(record(DATA, b"x")), None, {BAD_MAC, DECODE}
    yield "a record of 17,000 bytes", lambda it: it.stream.sendall(record(DATA, bytes(17_000))), None, {BAD_MAC, OVERFLOW}
    yield "a record of 65,535 bytes", lambda it: it.stream.sendall(record(DATA, bytes(65_535))), None, {OVERFLOW, DECODE, None}
    yield "a handshake message in the clear", lambda it: it.stream.sendall(record(HANDSHAKE, bytes(40))), None, {BAD_MAC, UNEXPECTED, DECODE}
    yield "an alert in the clear", lambda it: it.stream.sendall(record(ALERT, b"\x02\x28")), None, {BAD_MAC, UNEXPECTED, DECODE, None}
    yield "a heartbeat", once(HEARTBEAT, b"\x01\x40\x00" + bytes(16)), None, {UNEXPECTED, DECODE, None}
    yield "an empty handshake record", once(HANDSHAKE, b""), None, {UNEXPECTED, DECODE, None}
    yield "a message without end", lambda it: [it.put(HANDSHAKE, b"\x0b\xff\xff\xff" + bytes(16_000)) for _ in range(FLOOD)], None, {UNEXPECTED, DECODE, None}
    for kind in (SERVER_HELLO, CERTIFICATE, FINISHED):
        yield f"handshake message {kind}", once(HANDSHAKE, message(kind, bytes(32))), None, {UNEXPECTED, DECODE, ILLEGAL}
    yield "a flood of warnings", often(ALERT, bytes([WARNING, USER_CANCELED])), None, {UNEXPECTED, DECODE, None}
    yield "an alert of three bytes", once(ALERT, b"\x01\x5a\x00"), None, {UNEXPECTED, DECODE}
    yield "a flood of empty records, and no request", often(DATA, b""), None, {None}


def of_12():
    yield "a key that is no point", nothing, replacing(KEY_EXCHANGE, lambda key: message(KEY_EXCHANGE, key[:1] + bytes(len(key) - 1))), {ILLEGAL, DECODE, FAILURE}
    yield "a key of other length", nothing, replacing(KEY_EXCHANGE, lambda key: message(KEY_EXCHANGE, bytes([key[0] - 1]) + key[1:-1])), {ILLEGAL, DECODE, FAILURE}
    yield "an empty key", nothing, replacing(KEY_EXCHANGE, lambda _: message(KEY_EXCHANGE, b"\0")), {ILLEGAL, DECODE, FAILURE, None}
    yield "no key", nothing, replacing(KEY_EXCHANGE, lambda _: b""), {UNEXPECTED}
    yield "a flood of renegotiations", often(HANDSHAKE, message(CLIENT_HELLO, b"\x03\x03" + bytes(32) + b"\0\0\x02\xc0\x2b\x01\0")), None, {UNEXPECTED, FAILURE, DECODE, NO_RENEGOTIATION, None}
    yield "ChangeCipherSpec again", once(CCS, b"\x01"), None, {UNEXPECTED, DECODE}


def of_13():
    yield "a ClientHello", once(HANDSHAKE, message(CLIENT_HELLO, b"\x03\x03" + bytes(32) + b"\0\0\x02\x13\x01\x01\0")), None, {UNEXPECTED, DECODE}
    yield "a ticket for the server", once(HANDSHAKE, message(TICKET, struct.pack(">IIBHBH", 60, 1, 1, 1, 7, 0))), None, {UNEXPECTED, DECODE}
    yield "a KeyUpdate that is none", once(HANDSHAKE, message(KEY_UPDATE, b"\x02")), None, {ILLEGAL, DECODE, UNEXPECTED}
    yield "a KeyUpdate that is too long", once(HANDSHAKE, message(KEY_UPDATE, b"\0\0")), None, {DECODE, UNEXPECTED}
    yield "data with the keys before a KeyUpdate", lambda it: [it.put(HANDSHAKE, message(KEY_UPDATE, b"\0")), ask(it)], None, {BAD_MAC}
    yield "two KeyUpdates in a record", once(HANDSHAKE, message(KEY_UPDATE, b"\0") * 2), None, {UNEXPECTED, BAD_MAC}
    yield "a flood of KeyUpdates", lambda it: [update(it, 1) for _ in range(FLOOD)], None, {UNEXPECTED, None}
    yield "ChangeCipherSpec in the clear", lambda it: it.stream.sendall(record(CCS, b"\x01") * FLOOD), None, {UNEXPECTED, DECODE, None}


def update(client, wanted):
    for _ in client.send_keyupdate_request(wanted):
        pass


def refused(server, version, cases):
    cases = list(cases)
    with check(f"tls_fuzz: after a handshake of TLS {NAMES[version]}, what is wrong ends the connection") as note:
        # The server is known to be there and to take the right thing, so that the rest is not refused for another reason.
        with_requests(server, version)
        # Few at a time: this client's handshakes are slow, and the server does not wait for them long.
        with ThreadPoolExecutor(4) as pool:
            ends = list(pool.map(lambda one: outcome(server.port, version, one[1], one[2]), cases))
        found = [f"{one[0]}: {end} is not one of {sorted(map(str, one[3]))}" for one, end in zip(cases, ends) if end not in one[3]]
        expect(not found, f"{len(found)} of {len(cases)}: " + "; ".join(found))
        note(f"{len(cases)}")


def with_requests(server, version):
    client = Client(server.port, version)
    ask(client)
    expect(client.answer().startswith(b"HTTP/1.1 200"), "no answer")
    client.stream.close()


def taken(server):
    """What is strange, and nevertheless right."""
    for version in (V12, V13):
        with check(f"tls_fuzz: a request in records of one byte, with empty ones between, is answered in TLS {NAMES[version]}"):
            client = Client(server.port, version)
            for at in range(len(REQUEST)):
                client.put(DATA, REQUEST[at : at + 1])
                client.put(DATA, b"")
            expect(client.answer().startswith(b"HTTP/1.1 200"), "no answer")
            client.stream.close()
    with check("tls_fuzz: KeyUpdates between requests are followed"):
        client = Client(server.port, V13)
        for _ in range(5):
            update(client, 1)
            ask(client)
            client.answer()
        client.stream.close()
    with check("tls_fuzz: who renegotiates in TLS 1.2 is told no, or not heard, and may go on"):
        client = Client(server.port, V12)
        client.put(HANDSHAKE, message(CLIENT_HELLO, b"\x03\x03" + bytes(32) + b"\0\0\x02\xc0\x2b\x01\0"))
        ask(client)
        try:
            client.answer()
        except TLSRemoteAlert as alert:
            expect(alert.description == NO_RENEGOTIATION, f"alert {alert.description}")
        client.stream.close()
    with check("tls_fuzz: empty records do not keep a connection open for nothing") as note:
        client, began = Client(server.port, V13), time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < began + LONGEST:
                client.put(DATA, b"")
                time.sleep(0.1)
        took = time.monotonic() - began
        expect(took < LONGEST, f"still open after {took:.0f} s")
        note(f"closed after {took:.1f} s")
        client.stream.close()


def checks(server):
    refused(server, V12, [*of_both(), *of_12()])
    refused(server, V13, [*of_both(), *of_13()])
    taken(server)
