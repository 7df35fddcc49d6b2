"""Two clients of a hub in streams of one HTTP/2 connection (RFC 8441): one hears what the other publishes, and is closed
for a binary frame. It fails where something is amiss.

hub_h2.py PORT"""

import socket
import sys

from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage


class Client:
    def __init__(self, port):
        self.io = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.h2 = H2Connection()
        self.h2.initiate_connection()
        self.sockets = {}

    def turn(self):
        self.io.sendall(self.h2.data_to_send())
        for event in self.h2.receive_data(self.io.recv(65536)):
            if isinstance(event, ResponseReceived):
                self.sockets[event.stream_id].status = dict(event.headers)[b":status"]
            elif isinstance(event, DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.sockets[event.stream_id].receive(event.data)


class WebSocket:
    def __init__(self, client):
        self.client, self.status, self.heard = client, None, []
        self.stream = client.h2.get_next_available_stream_id()
        self.frames = Connection(ConnectionType.CLIENT)
        client.sockets[self.stream] = self
        headers = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "hub.test"),
            (":path", "/channels"),
            ("sec-websocket-version", "13"),
        ]
        client.h2.send_headers(self.stream, headers)
        while self.status is None:
            client.turn()
        assert self.status == b"200", self.status

    def receive(self, data):
        self.frames.receive_data(data or None)
        self.heard.extend(self.frames.events())

    def say(self, event):
        self.client.h2.send_data(self.stream, self.frames.send(event))

    def hears(self):
        while not self.heard:
            self.client.turn()
        return self.heard.pop(0)


def main(port):
    client = Client(port)
    reader, writer = WebSocket(client), WebSocket(client)
    reader.say(TextMessage("_sub:news"))
    reader.say(TextMessage("_ping"))
    assert reader.hears().data == "_pong"
    writer.say(TextMessage("news:" + "x" * 1000))
    assert reader.hears().data == "news:" + "x" * 1000
    reader.say(BytesMessage(b"binary"))
    close = reader.hears()
    assert isinstance(close, CloseConnection) and close.code == 1003, close
    writer.say(TextMessage("_ping"))
    assert writer.hears().data == "_pong"


main(int(sys.argv[1]))
