"""WebSockets in streams of one HTTP/2 connection (RFC 8441). It fails where something is amiss.

    websocket_h2.py PORT talk    one exchange of each kind
    websocket_h2.py PORT wait    says `open`, waits until it is closed, and prints the code
    websocket_h2.py PORT status  prints the status of the answer
"""

import socket
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

PORT, MODE = int(sys.argv[1]), sys.argv[2]


class Client:
    def __init__(self):
        self.io = socket.create_connection(("127.0.0.1", PORT), timeout=30)
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        # The library takes a GOAWAY for the end of everything; it is that of new streams.
        self.h2._frame_dispatch_table[GoAwayFrame] = lambda frame: ([], [])
        self.h2.initiate_connection()
        self.flush()
        while not isinstance(self.event(), RemoteSettingsChanged):
            pass
        assert self.h2.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1

    events = ()

    def flush(self):
        self.io.sendall(self.h2.data_to_send())

    def event(self):
        while not self.events:
            data = self.io.recv(65536)
            assert data, "the connection has ended"
            self.events = self.h2.receive_data(data)
            self.flush()
        first, *self.events = self.events
        return first

    def ask(self, path, protocol="websocket", extra=()):
        stream = self.h2.get_next_available_stream_id()
        headers = [
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":authority", "chat.test"),
            (":path", path),
            ("sec-websocket-version", "13"),
            *extra,
        ]
        self.h2.send_headers(stream, headers, end_stream=False)
        self.flush()
        while True:
            event = self.event()
            if isinstance(event, ResponseReceived) and event.stream_id == stream:
                return stream, dict(event.headers)
            mine = getattr(event, "stream_id", None) == stream
            assert not (mine and isinstance(event, StreamReset)), event


class WebSocket:
    def __init__(self, client, path="/chat"):
        self.client = client
        asks = [("sec-websocket-protocol", "chat"), ("cookie", "c=1"), ("cookie", "d=2"), ("origin", "http://o.test")]
        self.stream, headers = client.ask(path, extra=asks)
        assert headers[":status"] == "200", headers
        assert headers["sec-websocket-protocol"] == "chat", headers
        for name in ("sec-websocket-accept", "upgrade", "connection", "content-length"):
            assert name not in headers, headers
        self.frames = Connection(ConnectionType.CLIENT)
        self.ended = False
        self.received = []

    def send(self, event):
        data = self.frames.send(event)
        while data:
            room = min(self.client.h2.local_flow_control_window(self.stream), 16384)
            if room == 0:
                self.read()
                continue
            self.client.h2.send_data(self.stream, data[:room])
            self.client.flush()
            data = data[room:]

    def read(self):
        event = self.client.event()
        if isinstance(event, DataReceived) and event.stream_id == self.stream:
            self.client.h2.acknowledge_received_data(event.flow_controlled_length, self.stream)
            self.client.flush()
            if event.data:
                self.frames.receive_data(event.data)
            self.received.extend(self.frames.events())
        elif isinstance(event, StreamEnded) and event.stream_id == self.stream:
            self.ended = True
        else:
            mine = getattr(event, "stream_id", None) == self.stream
            assert not (mine and isinstance(event, StreamReset)), event

    def next(self):
        while not self.received:
            self.read()
        return self.received.pop(0)

    def message(self):
        parts = []
        while True:
            event = self.next()
            if isinstance(event, Ping):
                self.send(event.response())
                continue
            assert isinstance(event, (TextMessage, BytesMessage)), event
            parts.append(event.data)
            if event.message_finished:
                return parts[0][:0].join(parts)

    def echoed(self, message):
        kind = TextMessage if isinstance(message, str) else BytesMessage
        self.send(kind(message))
        answer = self.message()
        assert answer == message, f"{answer!r:.80} for {message!r:.80}"


def talk():
    client = Client()
    first, second = WebSocket(client), WebSocket(client)
    for message in ("", "hällo", bytes(range(256)), b"\0" * 500_000):
        first.echoed(message)
    second.echoed("beside it")
    first.send(TextMessage("ping"))
    assert first.message() == "ponged"
    first.send(Ping(b"payload"))
    assert first.next() == Pong(b"payload")
    first.send(CloseConnection(4000, "enough"))
    assert first.next() == CloseConnection(4000, "enough")
    while not first.ended:
        first.read()
    second.send(TextMessage("close 4001 leave"))
    close = second.next()
    assert close == CloseConnection(4001, "leave")
    second.send(close.response())
    while not second.ended:
        second.read()
    stream, headers = client.ask("/closed")
    assert (headers[":status"], headers["x-why"]) == ("403", "closed"), headers
    stream, headers = client.ask("/chat", protocol="other")
    assert headers[":status"] == "501", headers


def wait():
    chat = WebSocket(Client())
    chat.echoed("hello")
    print("open")
    close = chat.next()
    chat.send(close.response())
    while not chat.ended:
        chat.read()
    print("closed", close.code)


def status():
    print(Client().ask("/chat")[1][":status"])


{"talk": talk, "wait": wait, "status": status}[MODE]()
