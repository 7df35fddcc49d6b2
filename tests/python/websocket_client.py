"""A WebSocket client that tries what the protocol has, against an echo server. It fails where something is amiss.

    websocket_client.py URL talk     one exchange of each kind
    websocket_client.py URL wait     says `open`, waits until it is closed, and prints the code
    websocket_client.py URL hold N   the same for N clients; each line of input has all of them ask for an echo
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL, MODE, *REST = sys.argv[1:]
LIMITS = {"max_size": None, "ping_interval": None, "proxy": None}


async def echoed(client, message, expected=None):
    await client.send(message)
    answer = await client.recv()
    whole = expected if expected is not None else message
    assert answer == whole, f"{answer!r:.80} for {message!r:.80}"


async def talk():
    headers = {"Cookie": "c=1", "Origin": "http://origin.test"}
    for compression in ("deflate", None):
        asks = {"subprotocols": ["other", "chat"], "additional_headers": headers, "compression": compression}
        async with connect(URL, **asks, **LIMITS) as client:
            assert client.subprotocol == "chat", client.subprotocol
            extensions = [extension.name for extension in client.protocol.extensions]
            assert extensions == (["permessage-deflate"] if compression else []), extensions
            for message in ("", "hällo", "x" * 126, "y" * 65536, bytes(range(256)), b"\0" * 3_000_000):
                await echoed(client, message)
            await echoed(client, ["one ", "two ", "three"], "one two three")
            await echoed(client, "fragments", "one two three")
            await echoed(client, "ping", "ponged")
            await (await client.ping(b"payload"))
            await client.close(4000, "enough")
    async with connect(URL, **LIMITS) as client:
        await client.send("close 4001 leave")
        try:
            await client.recv()
            raise AssertionError("a message after the close")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "leave"), closed
    try:
        await connect(URL.replace("/chat", "/closed"), **LIMITS)
        raise AssertionError("nobody refused")
    except InvalidStatus as refusal:
        response = refusal.response
        assert (response.status_code, response.body) == (403, b"not today\n"), response
        assert response.headers["X-Why"] == "closed", response


async def closed(client):
    try:
        await client.recv()
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else "broken off"
    return "spoken to"


async def wait():
    async with connect(URL, **LIMITS) as client:
        await echoed(client, "hello")
        print("open")
        print("closed", await closed(client))


async def hold(count):
    clients = [await connect(URL, **LIMITS) for _ in range(count)]
    print("open")
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        await asyncio.gather(*(echoed(client, line) for client in clients))
        print("echoed", line)
    codes = {await closed(client) for client in clients}
    print("closed", *sorted(codes, key=str))


match MODE:
    case "talk":
        asyncio.run(talk())
    case "wait":
        asyncio.run(wait())
    case "hold":
        asyncio.run(hold(int(REST[0])))
