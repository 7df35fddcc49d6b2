"""A server of WebSockets that says back what it hears. It prints its port, and ends with its input."""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass


async def main():
    async with serve(echo, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
