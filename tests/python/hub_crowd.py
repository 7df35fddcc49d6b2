"""A crowd at one channel of a hub: so many that read, some that subscribe and never read, and one that publishes so many
messages of so many bytes. Whoever reads gets all of them, in order. Then those that did not read do: each is told that it
was dropped, and what came before that is without a gap.

hub_crowd.py URL READERS SLEEPERS MESSAGES BYTES"""

import asyncio
import sys

from websockets.asyncio.client import connect


async def subscribed(url):
    socket = await connect(url, ping_interval=None, compression=None, max_queue=4)
    await socket.send("_sub:crowd")
    await socket.send("_ping")
    assert await socket.recv() == "_pong"
    return socket


def number(message):
    channel, count, _ = message.split(":", 2)
    assert channel == "crowd", message[:100]
    return int(count)


async def read_all(socket, messages):
    for expected in range(messages):
        count = number(await socket.recv())
        assert count == expected, f"{count} instead of {expected}"


async def read_late(socket):
    expected = 0
    while (message := await socket.recv()) != "_dropped:crowd":
        assert number(message) == expected
        expected += 1
    await socket.send("_ping")
    assert await socket.recv() == "_pong", "nothing follows"
    return expected


async def main(url, readers, sleepers, messages, size):
    reading = [await subscribed(url) for _ in range(readers)]
    sleeping = [await subscribed(url) for _ in range(sleepers)]
    publisher = await connect(url, ping_interval=None, compression=None)
    # The slowest of those who read sets the pace: who is behind by a whole buffer would be dropped, and rightly.
    tasks = [asyncio.create_task(read_all(socket, messages)) for socket in reading]
    pace = await subscribed(url)
    for count in range(messages):
        await publisher.send(f"crowd:{count}:" + "x" * size)
        assert number(await pace.recv()) == count
    await asyncio.gather(*tasks)
    print("everybody who read got", messages)
    early = [await read_late(socket) for socket in sleeping]
    assert all(count < messages for count in early), early
    print("dropped and told:", len(early))


asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
