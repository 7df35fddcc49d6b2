"""Talks over a WebSocket: each line of standard input is sent as a text frame, or as a binary one where it begins with
`!`; each frame that comes is printed. The end of the input closes. `open` is said at the beginning, and `closed`, with
code and reason, at the end; or `refused` with the status.

websocket_talk.py URL [NAME: VALUE]..."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def listen(socket):
    try:
        while True:
            print(await socket.recv())
    except ConnectionClosed as end:
        close = end.rcvd
        print("closed", close.code if close else 1006, close.reason if close else "")


async def main(url, *headers):
    headers = [header.split(": ", 1) for header in headers]
    try:
        socket = await connect(url, additional_headers=headers, ping_interval=None)
    except InvalidStatus as refusal:
        print("refused", refusal.response.status_code)
        return
    print("open")
    listening = asyncio.create_task(listen(socket))
    lines = asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().rstrip("\n"):
        try:
            await socket.send(line[1:].encode() if line.startswith("!") else line)
        except ConnectionClosed:
            break
    await socket.close()
    await listening


asyncio.run(main(*sys.argv[1:]))
