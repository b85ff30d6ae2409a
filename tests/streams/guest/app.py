"""A server in a guest that shows what a port carries, on Python alone: python3 app.py PORT [ADDRESS].

POST /upload            how many bytes came and their SHA-256
GET  /bytes?size=N      N patterned bytes, with ranges
GET  /large?mib=N       N MiB, chunked, as fast as they are taken
GET  /events?count=N    Server-Sent Events, one every 100 ms
ANY  /request           the request as it arrived
GET  /cookie            sets a cookie for the whole domain
GET  /close             an answer without a length, ended by the connection
     /echo, /chat       WebSocket: every message comes back; `close CODE REASON` closes so
"""

import asyncio
import base64
import hashlib
import json
import struct
import sys
import time
from urllib.parse import parse_qs, urlsplit

PATTERN = bytes(range(256)) * 4096  # 1 MiB
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def patterned(start, end):
    first = start % 256
    return (PATTERN * ((end - start) // len(PATTERN) + 2))[first:first + end - start]


class Exchange:
    def __init__(self, reader, writer, head):
        self.reader, self.writer = reader, writer
        first, *lines = head.split("\r\n")
        self.method, target, _ = first.split(" ")
        self.headers = [tuple(line.split(": ", 1)) for line in lines if line]
        self.named = {name.lower(): value for name, value in self.headers}
        self.url = urlsplit(target)
        self.query = {name: values[0] for name, values in parse_qs(self.url.query).items()}

    def head(self, status, *headers):
        lines = [f"HTTP/1.1 {status}", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode())

    async def answer(self, status, body, *headers):
        self.head(status, f"content-length: {len(body)}", *headers)
        if self.method != "HEAD":
            self.writer.write(body)
        await self.writer.drain()

    async def body(self):
        if self.named.get("transfer-encoding", "").lower() == "chunked":
            while size := int(await self.reader.readline(), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readline()
            while (await self.reader.readline()).strip():
                pass
            return
        left = int(self.named.get("content-length", 0))
        while left > 0:
            piece = await self.reader.read(min(left, 1 << 20))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece


async def upload(x):
    if x.named.get("expect") == "100-continue":
        x.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    found, size = hashlib.sha256(), 0
    async for piece in x.body():
        found.update(piece)
        size += len(piece)
    answer = {"size": size, "sha256": found.hexdigest()}
    await x.answer("200 OK", json.dumps(answer).encode(), "content-type: application/json")


async def some_bytes(x):
    size = int(x.query["size"])
    start, end, status, more = 0, size, "200 OK", ()
    if wanted := x.named.get("range"):
        low, high = wanted.removeprefix("bytes=").split("-")
        start, end = int(low), min(size, int(high) + 1 if high else size)
        status, more = "206 Partial Content", (f"content-range: bytes {start}-{end - 1}/{size}",)
    await x.answer(status, patterned(start, end), "accept-ranges: bytes", *more)


async def large(x):
    x.head("200 OK", "transfer-encoding: chunked", "content-type: application/octet-stream")
    for _ in range(int(x.query["mib"])):
        x.writer.write(b"100000\r\n" + PATTERN + b"\r\n")
        await x.writer.drain()
    x.writer.write(b"0\r\n\r\n")
    await x.writer.drain()


async def events(x):
    x.head("200 OK", "content-type: text/event-stream", "cache-control: no-store", "transfer-encoding: chunked")
    for n in range(int(x.query["count"])):
        event = f"id: {n}\ndata: {time.time()}\n\n".encode()
        x.writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await x.writer.drain()
        await asyncio.sleep(0.1)
    x.writer.write(b"0\r\n\r\n")
    await x.writer.drain()


async def request(x):
    size = sum([len(piece) async for piece in x.body()])
    told = {"method": x.method, "target": x.url.geturl(), "headers": x.headers, "size": size}
    await x.answer("200 OK", json.dumps(told).encode(), "content-type: application/json", "connection: x-hop", "x-hop: 1")


async def cookie(x):
    await x.answer("200 OK", b"", "set-cookie: seen=1; Path=/; Domain=localhost; HttpOnly")


async def close(x):
    x.head("200 OK", "content-type: text/plain", "connection: close")
    x.writer.write(b"until the end")
    await x.writer.drain()
    x.writer.close()


async def socket(x):
    key = x.named["sec-websocket-key"]
    accept = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
    protocols = [name.strip() for name in x.named.get("sec-websocket-protocol", "").split(",") if name.strip()]
    chosen = (f"sec-websocket-protocol: {protocols[-1]}",) if protocols else ()
    x.head("101 Switching Protocols", "upgrade: websocket", "connection: upgrade", f"sec-websocket-accept: {accept}", *chosen)
    message, kind = [], 0
    while True:
        first, second = await x.reader.readexactly(2)
        size = second & 127
        if size > 125:
            size, = struct.unpack(">H" if size == 126 else ">Q", await x.reader.readexactly(2 if size == 126 else 8))
        mask = await x.reader.readexactly(4)
        data = await x.reader.readexactly(size)
        if size:
            whole = (mask * (size // 4 + 1))[:size]
            data = (int.from_bytes(data, "little") ^ int.from_bytes(whole, "little")).to_bytes(size, "little")
        code = first & 15
        if code == 8:
            frame(x, 8, data)
            await x.writer.drain()
            return x.writer.close()
        if code == 9:
            frame(x, 10, data)
            continue
        if code == 10:
            continue
        kind = code or kind
        message.append(data)
        if first & 128:
            whole, message = b"".join(message), []
            if kind == 1 and whole.startswith(b"close "):
                _, status, reason = whole.split(b" ", 2)
                frame(x, 8, struct.pack(">H", int(status)) + reason)
            else:
                frame(x, kind, whole)
            await x.writer.drain()


def frame(x, kind, data):
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", 128 | kind, size)
    elif size < 65536:
        head = struct.pack(">BBH", 128 | kind, 126, size)
    else:
        head = struct.pack(">BBQ", 128 | kind, 127, size)
    x.writer.write(head + data)


ROUTES = {"/upload": upload, "/bytes": some_bytes, "/large": large, "/events": events, "/request": request,
          "/cookie": cookie, "/close": close, "/echo": socket, "/chat": socket}


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            x = Exchange(reader, writer, head[:-4])
            route = ROUTES.get(x.url.path)
            await (route(x) if route else x.answer("404 Not Found", b"no such path\n"))
            if writer.is_closing():
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port, address="127.0.0.1"):
    server = await asyncio.start_server(serve, address, int(port), limit=1 << 21)
    print("listening", flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
