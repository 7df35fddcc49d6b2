"""A WebSocket server that echoes. It prints its port, then what it sees of each client.

    websocket_server.py

A message may ask for more than an echo: `ping`, `fragments`, `close CODE REASON`. The path `/closed` is refused.
"""

import asyncio
import http
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


def refuse(connection, request):
    if request.path == "/closed":
        response = connection.respond(http.HTTPStatus.FORBIDDEN, "not today\n")
        response.headers["X-Why"] = "closed"
        return response
    return None


def choose(connection, offered):
    return "chat" if "chat" in offered else None


async def talk(client):
    headers = client.request.headers
    seen = [headers.get(name, "-") for name in ("Host", "Origin", "Cookie", "X-User", "X-Forwarded-For")]
    print("open", client.request.path, client.subprotocol, *seen)
    try:
        async for message in client:
            words = message.split(" ") if isinstance(message, str) else [""]
            if words[0] == "ping":
                await (await client.ping())
                await client.send("ponged")
            elif words[0] == "fragments":
                await client.send(["one ", "two ", "three"])
            elif words[0] == "close":
                await client.close(int(words[1]), words[2])
            else:
                await client.send(message)
    except ConnectionClosed:
        pass
    print("closed", client.close_code, client.close_reason)


async def main():
    limits = {"max_size": None, "ping_interval": None, "process_request": refuse}
    async with serve(talk, "127.0.0.1", 0, select_subprotocol=choose, **limits) as server:
        print(server.sockets[0].getsockname()[1])
        # Until its input ends.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
