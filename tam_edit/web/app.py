"""The server's routes: the page's own files, pictures and maps under their digests, the state, and what changes it."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tam_edit.engine.store import EntryLost
from tam_edit.errors import ProjectBusy, TamEditError, UsageError
from tam_edit.saying import Saying
from tam_edit.web import asked
from tam_edit.web.guard import Access, Guard, immutable
from tam_edit.web.pictures import WIDTHS_PX
from tam_edit.web.studio import Studio, project_for
from tam_edit.web.uploads import PICTURE_SUFFIXES, VIDEO_SUFFIXES, receive, safe_name

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

Handler = Callable[[Request], Awaitable[Response]]


def build(studio: Studio, access: Access) -> Guard:
    """The ASGI application for one studio."""
    routes = Routes(studio)
    return Guard(Starlette(routes=routes.table(), exception_handlers={Exception: _unforeseen}), access)


async def _unforeseen(_: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    words = f"an error of tam-edit itself ({type(error).__name__}: {error}); the terminal has more"
    return JSONResponse({"error": words}, status_code=500)


def _telling(handler: Handler) -> Handler:
    """Turn what is worth telling into an answer in words."""

    async def told(request: Request) -> Response:
        try:
            return await handler(request)
        except ProjectBusy as error:
            return JSONResponse({"error": str(error)}, status_code=409)
        except TamEditError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except EntryLost:
            return JSONResponse({"error": "the cache lost these masks: track again"}, status_code=404)
        except ClientDisconnect:
            return Response(status_code=499)

    return told


class Routes:
    """Handlers around one studio; whatever takes its time runs in a thread."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.files = {file.name: file.read_bytes() for file in STATIC.iterdir() if file.suffix in TYPES}
        self._sending = asyncio.Lock()

    def table(self) -> list[Route]:
        get: dict[str, Handler] = {
            "/": self.page,
            "/static/{name}": self.static,
            "/api/state": self.state,
            "/api/times": self.times,
            "/api/track": self.track,
            "/frame/{digest}/{frame:int}.jpg": self.jpeg,
            "/frame/{digest}/{frame:int}.png": self.png,
            "/strip/{digest}/{frame:int}.jpg": self.strip,
            "/map/{frame:int}/{digest}.png": self.map,
            "/result/{name}/{frame:int}.jpg": self.result_frame,
            "/result/{name}/{frame:int}.png": self.result_frame,
            "/download/{name}": self.download,
        }
        post: dict[str, Handler] = {
            "/api/say": self.say,
            "/api/unmark": self.unmark,
            "/api/copy": self.copy,
            "/api/rename": self.rename,
            "/api/forget": self.forget,
            "/api/colour": self.colour,
            "/api/effects/add": self.add_effect,
            "/api/effects/drop": self.drop_effect,
            "/api/undo": self.undo,
            "/api/redo": self.redo,
            "/api/settings": self.settings,
            "/api/rest": self.rest,
            "/api/plan": self.plan,
            "/api/run": self.run,
            "/api/cancel": self.cancel,
            "/api/judge": self.judge,
            "/api/upload/clip": self.upload_clip,
            "/api/upload/background": self.upload_background,
        }
        return [
            *(Route(path, _telling(handler), methods=["GET"]) for path, handler in get.items()),
            *(Route(path, _telling(handler), methods=["POST"]) for path, handler in post.items()),
        ]

    # The page itself

    async def page(self, _: Request) -> Response:
        return self._file("index.html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        return self._file(name) if name in self.files else _missing("no such file")

    def _file(self, name: str) -> Response:
        # Not kept by the browser: they are small, come from this machine, and change with the installed version.
        return Response(self.files[name], media_type=TYPES[Path(name).suffix], headers={"Cache-Control": "no-cache"})

    # Looking

    async def state(self, request: Request) -> Response:
        if request.query_params.get("since") == self.studio.revision:
            return Response(status_code=204)
        return JSONResponse(await run_in_threadpool(self.studio.to_json))

    async def times(self, _: Request) -> Response:
        return JSONResponse(self.studio.times())

    async def track(self, _: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.studio.track_json))

    async def jpeg(self, request: Request) -> Response:
        width_px = asked.number(request.query_params.get("w", "1280"), "w")
        if width_px not in WIDTHS_PX:
            raise UsageError(f"w={width_px}: {', '.join(map(str, WIDTHS_PX))} are possible")
        frame = self._frame(request)
        payload = await run_in_threadpool(self.studio.open_desk.pictures.jpeg, frame, width_px)
        return _kept(request, payload, "image/jpeg", request.path_params["digest"], str(frame), str(width_px))

    async def png(self, request: Request) -> Response:
        frame = self._frame(request)
        payload = await run_in_threadpool(self.studio.open_desk.pictures.png, frame)
        return _kept(request, payload, "image/png", request.path_params["digest"], str(frame), "png")

    async def strip(self, request: Request) -> Response:
        frame = self._frame(request)
        desk = self.studio.open_desk
        found = desk.strip.nearest(frame)
        if found is None:  # not there yet: the next one asked for may be
            payload = await run_in_threadpool(desk.pictures.jpeg, frame, WIDTHS_PX[0])
            return Response(payload, media_type="image/jpeg", headers={"Cache-Control": "no-store"})
        return _kept(request, found[1], "image/jpeg", request.path_params["digest"], str(found[0]), "strip")

    async def map(self, request: Request) -> Response:
        frame, digest = self._frame(request, check_digest=False), request.path_params["digest"]
        payload, current = await run_in_threadpool(self.studio.open_desk.map_png, frame, digest)
        if not current:  # the mask has changed since the page was told: the new one, not to be kept under the old name
            return Response(payload, media_type="image/png", headers={"Cache-Control": "no-store"})
        return _kept(request, payload, "image/png", digest)

    async def result_frame(self, request: Request) -> Response:
        frame, name = self._frame(request, check_digest=False), request.path_params["name"]
        desk, results = self.studio.open_desk, self.studio.results
        found = None if results is None else await run_in_threadpool(results.pictures, desk.edit, name)
        if found is None or frame >= found.source.frames:
            return _missing("no such result, or no such frame in it")
        if request.url.path.endswith(".png"):
            payload, kind = await run_in_threadpool(found.png, frame), "image/png"
        else:
            width_px = asked.number(request.query_params.get("w", "1280"), "w")
            if width_px not in WIDTHS_PX:
                raise UsageError(f"w={width_px}: {', '.join(map(str, WIDTHS_PX))} are possible")
            payload, kind = await run_in_threadpool(found.jpeg, frame, width_px), "image/jpeg"
        return _kept(request, payload, kind, found.source.digest[:16], str(frame), request.url.query)

    async def download(self, request: Request) -> Response:
        name = request.path_params["name"]
        results = self.studio.results
        path = None if results is None else results.find(name)
        if path is None or results is None:
            return _missing("no such result")
        if path.is_file():
            return FileResponse(path, filename=path.name, media_type="application/octet-stream")
        packed = await run_in_threadpool(results.packed, path)
        return FileResponse(packed, filename=f"{path.name}.zip", background=BackgroundTask(packed.unlink))

    def _frame(self, request: Request, *, check_digest: bool = True) -> int:
        desk = self.studio.open_desk
        frame = int(request.path_params["frame"])
        if frame >= desk.source.frames:
            raise UsageError(f"frame {frame}: the clip has frames 0 to {desk.source.frames - 1}")
        if check_digest and request.path_params["digest"] != desk.source.digest[:16]:
            raise UsageError("this server has another clip open now: load the page again")
        return frame

    # Saying

    async def say(self, request: Request) -> Response:
        given = await asked.json_of(request)
        desk = self.studio.open_desk
        name = asked.text(given.get("object"), "object")
        frame = asked.number(given.get("frame"), "frame")
        mask = None if given.get("mask") is None else asked.mask(given["mask"], desk.source.size_wh)
        if mask is None and "polish" in given:
            mask = await run_in_threadpool(desk.rough, name, frame)
        saying = Saying(
            frame=frame,
            points=asked.points(given.get("points", []), "points"),
            negative=asked.points(given.get("negative", []), "negative"),
            scribbles=asked.lines(given.get("scribbles", []), "scribbles"),
            negative_scribbles=asked.lines(given.get("negative_scribbles", []), "negative_scribbles"),
            box=given.get("box"),
            mask=mask,
            polish=given.get("polish") is True,
            absent=given.get("absent") is True,
            candidate=asked.number(given.get("candidate", 0), "candidate"),
        )
        found = await run_in_threadpool(desk.say, name, saying)
        self.studio.changed()
        return JSONResponse(
            {
                "candidates": [{"name": item.name, "score": round(float(item.score), 3)} for item in found.candidates],
                "more": found.more,
                "map": desk.known.shown[saying.frame].digest,
                "state": await run_in_threadpool(self.studio.to_json),
            }
        )

    async def unmark(self, request: Request) -> Response:
        given = await asked.json_of(request)
        name, frame = asked.text(given.get("object"), "object"), asked.number(given.get("frame"), "frame")
        return await self._changing(lambda: self.studio.open_desk.edit.unmark(name, frame))

    async def copy(self, request: Request) -> Response:
        given = await asked.json_of(request)
        name, move = asked.text(given.get("object"), "object"), given.get("move") is True
        frame, to = asked.number(given.get("frame"), "frame"), asked.number(given.get("to"), "to")
        return await self._changing(lambda: self.studio.open_desk.copy(name, frame, to, move=move))

    async def rename(self, request: Request) -> Response:
        given = await asked.json_of(request)
        name, to = asked.text(given.get("object"), "object"), asked.text(given.get("to"), "to")
        return await self._changing(lambda: self.studio.rename(name, to))

    async def forget(self, request: Request) -> Response:
        name = asked.text((await asked.json_of(request)).get("object"), "object")
        return await self._changing(lambda: self.studio.open_desk.forget(name))

    async def colour(self, request: Request) -> Response:
        given = await asked.json_of(request)
        name = asked.text(given.get("object"), "object")
        colour = None if given.get("colour") is None else asked.text(given["colour"], "colour")
        return await self._changing(lambda: self.studio.paint(name, colour))

    async def undo(self, _: Request) -> Response:
        return await self._changing(self.studio.open_desk.edit.undo)

    async def redo(self, _: Request) -> Response:
        return await self._changing(self.studio.open_desk.edit.redo)

    async def settings(self, request: Request) -> Response:
        given = asked.settings(await asked.json_of(request))
        return await self._changing(lambda: self.studio.open_desk.set_settings(**given))

    async def rest(self, request: Request) -> Response:
        frame = asked.number((await asked.json_of(request)).get("frame"), "frame")
        if 0 <= frame < self.studio.open_desk.source.frames:
            await run_in_threadpool(self.studio.open_desk.prepare, frame)
        return Response(status_code=204)

    async def _changing(self, change: Callable[[], object]) -> Response:
        await run_in_threadpool(change)
        self.studio.changed()
        return JSONResponse(await run_in_threadpool(self.studio.to_json))

    # Working

    async def plan(self, request: Request) -> Response:
        work = await run_in_threadpool(self.studio.work_of, await asked.json_of(request))
        report = await run_in_threadpool(self.studio.plan, work)
        return JSONResponse(report.to_json())

    async def run(self, request: Request) -> Response:
        work = await run_in_threadpool(self.studio.work_of, await asked.json_of(request))
        await run_in_threadpool(self.studio.start, work)
        return JSONResponse(await run_in_threadpool(self.studio.to_json))

    async def add_effect(self, request: Request) -> Response:
        given = await asked.json_of(request)
        if given.get("kind") not in ("remove", "replace", "alter"):
            raise UsageError("an effect removes, replaces or alters")
        return await self._changing(lambda: self.studio.add_effect(given))

    async def drop_effect(self, request: Request) -> Response:
        index = asked.number((await asked.json_of(request)).get("index"), "index")
        return await self._changing(lambda: self.studio.drop_effect(index))

    async def cancel(self, _: Request) -> Response:
        self.studio.jobs.cancel()
        return JSONResponse(await run_in_threadpool(self.studio.to_json))

    async def judge(self, request: Request) -> Response:
        given = await asked.json_of(request)
        name, frame = asked.text(given.get("object"), "object"), asked.number(given.get("frame"), "frame")
        verdict = asked.text(given.get("verdict"), "verdict")
        return await self._changing(lambda: self.studio.judge(name, frame, verdict))

    # Sending files

    async def upload_clip(self, request: Request) -> Response:
        studio = self.studio
        if studio.desk is not None:
            raise ProjectBusy("this server has a project open already: start another tam-edit ui for another clip")
        if self._sending.locked():
            raise ProjectBusy("a clip is being sent already: wait for it")
        async with self._sending:
            path = await self._received(request, studio.options.folder, VIDEO_SUFFIXES)
            studio.opening = f"reading {path.name}"
            studio.touch()
            try:
                folder = project_for(path, studio.options.folder)
                number = 2
                while folder.exists():
                    folder = folder.with_name(f"{path.stem}-{number}.edit")
                    number += 1
                await run_in_threadpool(studio.create, path, folder)
            except BaseException:
                path.unlink(missing_ok=True)  # what cannot be edited is not left lying about
                raise
            finally:
                studio.opening = ""
                studio.touch()
        return JSONResponse(await run_in_threadpool(studio.to_json))

    async def upload_background(self, request: Request) -> Response:
        folder = self.studio.background_folder
        path = await self._received(request, folder, VIDEO_SUFFIXES | PICTURE_SUFFIXES)
        self.studio.touch()
        return JSONResponse({"name": path.name})

    async def _received(self, request: Request, folder: Path, suffixes: frozenset[str]) -> Path:
        name = safe_name(request.headers.get("x-file-name", ""), suffixes)
        length = request.headers.get("content-length")
        announced = int(length) if length is not None and length.isdigit() else None
        return await receive(request.stream(), folder, name, self.studio.options.upload_limit_bytes, announced)


def _missing(words: str) -> Response:
    return PlainTextResponse(f"{words}\n", status_code=404)


def _kept(request: Request, payload: bytes, kind: str, *digests: str) -> Response:
    """An answer named by its content's digest; a browser that has it already gets no bytes."""
    headers = immutable(digests)
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(payload, media_type=kind, headers=headers)
