"""The page and its server: one static page, `/translate` for a recorded clip, `/stream` for frames as they come.

Keypoints are made in the browser; no picture is sent. Nothing that a request holds is kept, and no path of a request is
opened: the files that are served are looked up in tables made at the start.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from sign_models import interruption
from sign_models.errors import DataError, ResourceError, SignError
from sign_models.serving.answers import Answering
from sign_models.serving.frames import FRAME_BYTES, FrameReader, clip_of_frames
from sign_models.serving.limits import RateLimit
from sign_models.serving.stream import Piece, Segmenter
from sign_models.video import captions
from sign_models.video.quality import faults, shares

LOOPBACK = ("localhost", "127.0.0.1")
MAX_CLIP_FRAMES = 3600  # of a recording: two minutes at 30 frames/s
MAX_MESSAGE_FRAMES = 64  # of a stream's message
MAX_CAPTION_BYTES = 2**20
MAX_STREAMS = 8
REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 2.0, 20.0  # a client
FRAMES_A_SECOND, FRAMES_AT_ONCE = 120.0, 600.0  # of a client's streams
BODY_S = 30.0  # in which a request has to be whole
SILENCE_S = 60.0  # after which a stream is closed
PARTIAL_S = 0.5  # between two partial texts at least, and as long as the last one took
N_BEST = 3
POLL_S, SHUTDOWN_S = 0.2, 1.0
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".task": "application/octet-stream",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class _Shared:
    """What the requests of one server share."""

    answering: Answering
    requests: RateLimit = field(default_factory=lambda: RateLimit(REQUESTS_A_SECOND, REQUESTS_AT_ONCE))
    frames: RateLimit = field(default_factory=lambda: RateLimit(FRAMES_A_SECOND, FRAMES_AT_ONCE))
    streams: int = 0


class Cue(BaseModel):
    """A segment of a request for captions; see video.captions.Segment.

    Attributes:
        start: Seconds.
        end: Seconds.
        text: The text.
        confidence: In [0, 1]. None: not known.
    """

    model_config = ConfigDict(extra="ignore")
    start: float
    end: float
    text: Annotated[str, Field(max_length=10_000)]
    confidence: float | None = None
    unsure: bool = False


def make_app(
    answering: Answering, about: Mapping[str, Any], files: Mapping[str, Path], hosts: tuple[str, ...] = LOOPBACK
) -> FastAPI:
    """Make the page's server.

    Args:
        answering: Translates.
        about: What the page shows of the model; JSON.
        files: File by path of its URL below `/assets/`: MediaPipe's code and models.
        hosts: Names by which the server may be asked for.

    Returns:
        The application.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    shared = _Shared(answering)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*hosts])
    _add_guard(app, shared)
    _add_files(app, files)

    @app.get("/about")
    async def tell() -> JSONResponse:
        return JSONResponse(dict(about))

    @app.post("/translate")
    async def translate(request: Request, width: float, height: float) -> JSONResponse:
        data = await _body(request, MAX_CLIP_FRAMES * FRAME_BYTES)
        return JSONResponse(await run_in_threadpool(_translated, shared.answering, data, (width, height)))

    @app.post("/captions")
    async def write(request: Request, form: Annotated[str, Query(pattern="^(vtt|srt|eaf)$")]) -> PlainTextResponse:
        """Captions of segments that the page sends back, as a file of the form asked for."""
        try:
            content = json.loads(await _body(request, MAX_CAPTION_BYTES))
            cues = [Cue.model_validate(cue) for cue in content]
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError("no list of segments", place="captions", wanted="start, end and text of each") from error
        made = [captions.Segment(c.start, c.end, c.text, c.confidence, unsure=c.unsure) for c in cues]
        made = captions.marked(made)
        return PlainTextResponse(getattr(captions, f"to_{form}")(made))

    @app.websocket("/stream")
    async def stream(connection: WebSocket, width: float, height: float) -> None:
        await _stream(connection, shared, (width, height))

    return app


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to serve on.

    Args:
        host: Address.
        port: Port.

    Returns:
        The socket.

    Raises:
        ResourceError: The address cannot be had, or the optional extra is not installed.
    """
    try:
        import websockets  # noqa: F401  what uvicorn speaks /stream with
    except ImportError as error:
        remedy = "pip install 'sign-models[video]', or make video"
        raise ResourceError("websockets is not installed", place="demo", remedy=remedy) from error
    try:
        return socket.create_server((host, port))
    except OSError as error:
        found, remedy = (
            f"cannot listen there ({error.strerror or error})",
            "give another port, or end what listens there",
        )
        raise ResourceError(found, place=f"{host}:{port}", wanted="a free address", remedy=remedy) from error


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Answer until the process is asked to end.

    Args:
        app: The application.
        listening: The socket.

    Raises:
        Terminated: A signal asks for the end (KeyboardInterrupt for Ctrl-C).
    """
    import uvicorn

    limit = MAX_MESSAGE_FRAMES * FRAME_BYTES + 1024
    settings: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
    server = uvicorn.Server(uvicorn.Config(app, limit_concurrency=64, ws_max_size=limit, **settings))
    # Beside the main thread: there uvicorn leaves the signals to this process.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            interruption.check()
    finally:
        server.should_exit = True
        thread.join(SHUTDOWN_S)


def _translated(answering: Answering, data: bytes, size: tuple[float, float]) -> dict[str, Any]:
    began = time.monotonic()
    times, values = FrameReader(size).read(data)
    clip = clip_of_frames(times, values, size, answering.fps, answering.extractor)
    found = answering.answer(clip, N_BEST)
    return found | {
        "look_at": faults(shares(values, size)),
        "frames": len(times),
        "latency_ms": round(1000 * (time.monotonic() - began), 1),
    }


async def _body(request: Request, limit: int) -> bytes:
    """The bytes of a request, never more than `limit` in memory."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _TooLarge(f"more than {limit:,} bytes", place="request", remedy="send a shorter clip")
                parts.append(part)
    except TimeoutError as error:
        raise DataError(f"is not whole after {BODY_S:g} s", place="request", wanted="its body") from error
    return b"".join(parts)


class _TooLarge(DataError):
    pass


def _add_guard(app: FastAPI, shared: _Shared) -> None:
    """Add headers, rate limits and error messages to every request, and refuse pages of another origin."""

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method not in ("GET", "HEAD") and not _same_origin(request.headers):
            answer: Response = _refusal(403, "asked for by a page of another origin")
        elif request.method == "POST" and not shared.requests.take(_client(request)):
            answer = _refusal(429, "too many requests; wait some seconds")
        else:
            answer = await go_on(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.exception_handler(SignError)
    async def refused(_: Request, error: SignError) -> JSONResponse:
        return _refusal(413 if isinstance(error, _TooLarge) else 400, str(error))


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status)


def _client(connection: Request | WebSocket) -> str:
    return connection.client.host if connection.client else ""


def _same_origin(headers: Mapping[str, str]) -> bool:
    """Whether no page, or one that this server gave, asks. A browser always tells where another page does."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def _add_files(app: FastAPI, files: Mapping[str, Path]) -> None:
    """Add the files that are served, by the path of their URL."""
    folder = resources.files("sign_models.serving").joinpath("static")
    page = {file.name: file.read_bytes() for file in folder.iterdir()}

    @app.get("/")
    async def index() -> Response:
        return Response(page["index.html"], media_type=TYPES[".html"], headers={"Cache-Control": "no-cache"})

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in page:
            return _refusal(404, "no such file")
        kind = TYPES[Path(name).suffix]
        return Response(page[name], media_type=kind, headers={"Cache-Control": "no-cache"})

    @app.get("/assets/{name:path}")
    async def asset(name: str) -> Response:
        if name not in files:
            return _refusal(404, "no such file")
        kind = TYPES[files[name].suffix]
        return FileResponse(files[name], media_type=kind, headers={"Cache-Control": "max-age=86400"})


async def _stream(connection: WebSocket, shared: _Shared, size: tuple[float, float]) -> None:
    """One connection: binary messages are frames; a text message ends the stream.

    Answers: {"type": "partial" | "final", "segment", "start", "end", "text", "confidence", "unsure", "n_best",
    "warning", "look_at"}, then {"type": "end"}, or {"type": "error", "message"}. A partial text is of the segment that
    is being signed; a final one is never revised. Where a text is rejected, "guess" has all of it, and "text" what is
    sure.
    """
    if not _same_origin(connection.headers) or shared.streams >= MAX_STREAMS:
        await connection.close(1008)
        return
    await connection.accept()
    shared.streams += 1
    try:
        await _answer_stream(connection, shared, size)
    except SignError as error:
        await connection.send_json({"type": "error", "message": str(error)})
        await connection.close(1008)
    except TimeoutError:
        await connection.send_json({"type": "error", "message": f"nothing was sent for {SILENCE_S:g} s"})
        await connection.close(1001)
    except (WebSocketDisconnect, RuntimeError):  # RuntimeError: an answer to one who has left
        pass
    finally:
        shared.streams -= 1


async def _answer_stream(connection: WebSocket, shared: _Shared, size: tuple[float, float]) -> None:
    """Read frames of a connection until it is closed or silent, and send each segment's text when the signer rests."""
    answering, reader = shared.answering, FrameReader(size)
    segmenter = Segmenter(answering.longest_s)
    due = time.monotonic() + PARTIAL_S

    async def tell(piece: Piece) -> None:
        for told in await run_in_threadpool(_told, answering, piece, size):
            await connection.send_json(told)

    while True:
        message = await asyncio.wait_for(connection.receive(), SILENCE_S)
        if message["type"] == "websocket.disconnect":
            return
        if (data := message.get("bytes")) is None:
            if (last := segmenter.end()) is not None:
                await tell(last)
            await connection.send_json({"type": "end"})
            await connection.close()
            return
        if len(data) > MAX_MESSAGE_FRAMES * FRAME_BYTES:
            raise DataError(f"{len(data)} bytes", place="message", wanted=f"at most {MAX_MESSAGE_FRAMES} frames")
        if not shared.frames.take(_client(connection), len(data) / FRAME_BYTES):
            raise DataError("too many frames", place="stream", wanted=f"at most {FRAMES_A_SECOND:g} a second")
        for piece in segmenter.add(*reader.read(data)):
            await tell(piece)
        if time.monotonic() >= due and (current := segmenter.current()) is not None:
            began = time.monotonic()
            await tell(current)
            due = time.monotonic() + max(PARTIAL_S, time.monotonic() - began)


def _told(answering: Answering, piece: Piece, size: tuple[float, float]) -> list[dict[str, Any]]:
    """Messages of a piece: one, with the texts of all that it was read in."""
    began = time.monotonic()
    clip = clip_of_frames(piece.times, piece.values, size, answering.fps, answering.extractor)
    found = answering.answer(clip, N_BEST if piece.final else 1)
    segments = found["segments"]
    if not segments:
        return []
    text = " ".join(s["text"] for s in segments if s["text"])
    guess = " ".join(told for s in segments if (told := s.get("guess", s["text"])))
    return [
        {
            **segments[-1],
            "type": "final" if piece.final else "partial",
            "segment": piece.number,
            "start": round(float(piece.times[0]), 3),
            "end": round(float(piece.times[-1]), 3),
            "text": text,
            **({"guess": guess} if any("guess" in s for s in segments) else {}),
            "confidence": min(s["confidence"] for s in segments),
            "unsure": any(s["unsure"] for s in segments),
            "warning": found["warning"],
            "look_at": faults(shares(piece.values, size)),
            "latency_ms": round(1000 * (time.monotonic() - began), 1),
        }
    ]
