"""A TCP relay that holds every byte back for a while, each way, as a long line does.

What it adds is delay and not a limit: bytes that follow each other arrive as close as they left.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65536


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                break
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()

    delivering = asyncio.create_task(deliver())
    try:
        while data := await source.read(CHUNK):
            waiting.put_nowait((loop.time() + seconds, data))
    finally:
        waiting.put_nowait((loop.time() + seconds, b""))
        await asyncio.gather(delivering, return_exceptions=True)


async def _relay(
    near: asyncio.StreamReader,
    back: asyncio.StreamWriter,
    address: tuple[str, int],
    seconds: float,
) -> None:
    far, forth = await asyncio.open_connection(*address)
    ways = (_carry(near, forth, seconds), _carry(far, back, seconds))
    await asyncio.gather(*ways, return_exceptions=True)
    for writer in (forth, back):
        writer.close()


@contextmanager
def slow_link(host: str, port: int, seconds: float) -> Iterator[int]:
    """A port on loopback that leads to `host`:`port`, `seconds` away, for as long as the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncio.Server:
        async def accepted(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
            # What asyncio calls after this one takes an end by cancellation for a fault.
            with suppress(asyncio.CancelledError):
                await _relay(near, back, (host, port), seconds)

        return await asyncio.start_server(accepted, "127.0.0.1", 0)

    async def end() -> None:
        server.close()
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
