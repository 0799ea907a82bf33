"""Fifty people who watch /stream, in a process of their own: counts what they are told."""

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass

CONNECT_S = 10.0


@dataclass
class Counts:
    """What all viewers were sent."""

    connected: int = 0
    bytes: int = 0
    readings: int = 0
    resets: int = 0


async def watch(port: int, cookie: str, counts: Counts) -> None:
    """Read one stream until cancelled."""
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
    writer.write(head.encode())
    status = await reader.readline()
    if b" 200 " not in status:
        msg = f"the stream answered {status!r}"
        raise RuntimeError(msg)
    counts.connected += 1
    while data := await reader.read(65_536):
        counts.bytes += len(data)
        counts.readings += data.count(b"event: reading")
        counts.resets += data.count(b"event: reset")


async def run(port: int, cookie: str, viewers: int) -> Counts:
    """Watch until stdin closes."""
    counts = Counts()
    tasks = [asyncio.create_task(watch(port, cookie, counts)) for _ in range(viewers)]
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # says why a viewer was sent away
            msg = "a stream ended by itself"
            raise RuntimeError(msg)
        task.cancel()
    return counts


def main() -> None:
    """Print the counts as one line of JSON when told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cookie", required=True)
    parser.add_argument("--viewers", type=int, default=50)
    args = parser.parse_args()
    counts = asyncio.run(run(args.port, args.cookie, args.viewers))
    print(json.dumps(vars(counts)), flush=True)


if __name__ == "__main__":
    main()
