# SPDX-License-Identifier: Apache-2.0
"""A collector for run.sh: collector.py PORT [hung]. Answers each request with 200, or never. At its end it prints how many requests and
bytes it got."""
import asyncio
import signal
import sys

counts = {"requests": 0, "bytes": 0}


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            counts["requests"] += 1
            counts["bytes"] += length
            if "hung" in sys.argv:
                await asyncio.Event().wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await over.wait()
    print(counts, flush=True)

asyncio.run(main())
