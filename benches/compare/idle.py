"""Idle connections: how much memory each costs once its request is answered."""

import socket

from measure import started
from peers import BODIES
from report import invalid, mebibytes, table

CONNECTIONS = 2_000


def idle_connections(bench):
    rows = []
    # One at a time: the descriptors of all the peers' connections are this script's.
    for peer in bench.peers:
        with started(bench, [peer]) as running:
            for proxy in running:
                rows.append(_row(proxy))
    said = f"{CONNECTIONS} connections, each idle after one request for 1 KiB."
    return f"{said}\n\n" + table(["", "KiB/connection", "before MiB", "after MiB"], rows)


def _row(proxy):
    before = proxy.process.rss()
    connections = []
    try:
        for _ in range(CONNECTIONS):
            connections.append(_ask_once(proxy))
        after = proxy.process.rss()
        closed = sum(_is_closed(connection) for connection in connections)
    except OSError as error:
        return invalid(proxy.name, f"connection {len(connections) + 1}: {error}")
    finally:
        for connection in connections:
            connection.close()
    if closed:
        return invalid(proxy.name, f"{closed} connections were closed meanwhile")
    return [proxy.name, f"{(after - before) / CONNECTIONS / 1024:.2f}", mebibytes(before), mebibytes(after)]


def _ask_once(proxy):
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    try:
        connection.sendall(f"GET /1k HTTP/1.1\r\nHost: {proxy.host}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < BODIES["/1k"]:
            part = connection.recv(65536)
            if not part:
                raise ConnectionError("closed before the whole answer")
            answer += part
        if not answer.startswith(b"HTTP/1.1 2"):
            raise ConnectionError(f"answered {answer[:12]!r}")
        connection.setblocking(False)
        return connection
    except OSError:
        connection.close()
        raise


def _is_closed(connection):
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
