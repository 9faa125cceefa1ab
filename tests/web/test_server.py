"""The page's server by plain requests: who may ask, what is sent and kept, state, clicks, runs and results."""

from __future__ import annotations

import io
import json
import shutil
import socket
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import numpy as np
import pytest

from tam_edit.web.guard import Access, is_loopback
from tam_edit.web.uploads import VIDEO_SUFFIXES, safe_name
from tests.web.support import Page, classic_project, drawn_clip, served

OWN = {"X-Tam-Edit": "1"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    with served(folder) as found:
        found.studio.adopt(classic_project(drawn_clip(folder / "disc.mkv"), folder / "disc.edit"))
        yield found


@pytest.fixture
def client(page: Page) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page.url, timeout=120) as found:
        yield found


def said(client: httpx.Client, path: str, **values: Any) -> Any:
    answer = client.post(path, json=values, headers=OWN)
    assert answer.status_code == 200, answer.text
    return answer.json()


def finished(client: httpx.Client) -> dict[str, Any]:
    for _ in range(1200):
        job = client.get("/api/state").json()["job"]
        if job["status"] not in ("running", "stopping"):
            return dict(job)
        time.sleep(0.1)
    raise TimeoutError(job)


def label_map(client: httpx.Client, frame: int) -> Any:
    digest = client.get("/api/track").json()["maps"][frame]
    png = client.get(f"/map/{frame}/{digest}.png").content
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


# Who may ask


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1:1",
        "localhost.evil.example:{port}",
        "",
        "127.0.0.1:{port}@evil.example",
        "192.168.0.7:{port}",
    ],
)
def test_another_host_is_refused(page: Page, client: httpx.Client, host: str) -> None:
    answer = client.get("/api/state", headers={"Host": host.format(port=page.access.port)})
    assert answer.status_code in (400, 421)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
def test_own_hosts_are_answered(page: Page, client: httpx.Client, host: str) -> None:
    assert client.get("/api/state", headers={"Host": host.format(port=page.access.port)}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_other_sites_are_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.get("/api/state", headers=headers).status_code == 403
    assert client.post("/api/undo", json={}, headers={**OWN, **headers}).status_code == 403


def test_a_change_needs_the_page_s_own_header(client: httpx.Client) -> None:
    assert client.post("/api/undo", json={}).status_code == 403
    assert client.get("/api/undo").status_code == 405


def test_every_answer_keeps_others_out(client: httpx.Client) -> None:
    for path in ("/", "/api/state", "/nothing", "/static/page.js"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/download/..%2fedit.json",
        "/download/edit.json",
        "/download/%2fetc%2fpasswd",
        "/result/..%2f..%2fdisc.mkv/0.jpg",
        "/download/removed-001.mp4%00",
    ],
)
def test_no_path_reaches_other_files(page: Page, path: str) -> None:
    with socket.create_connection(("127.0.0.1", page.access.port)) as raw:  # no client that tidies the path
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{page.access.port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"400"), answer[:200]


def test_beyond_loopback_a_token_opens(tmp_path: Path) -> None:
    with served(tmp_path, token="open-sesame") as found, httpx.Client(base_url=found.url) as client:
        assert client.get("/api/state").status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        assert client.get("/api/state?token=open-sesame").status_code == 401  # only the page itself takes it
        first = client.get("/?token=open-sesame")
        assert first.status_code == 303
        assert first.headers["location"] == "/"
        assert "HttpOnly" in first.headers["set-cookie"]
        assert "samesite=strict" in first.headers["set-cookie"].lower()
        assert client.get("/api/state").status_code == 200
        assert client.get("/api/state", headers={"Host": f"evil.example:{found.access.port}"}).status_code == 421


def test_hosts_of_a_server_beyond_loopback() -> None:
    access = Access("0.0.0.0", 80, "token")
    assert access.host_fits("10.1.2.3")
    assert access.host_fits("10.1.2.3:80")
    assert not access.host_fits("evil.example")
    assert not Access("127.0.0.1", 80).host_fits("10.1.2.3")
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")


# Pictures


def test_pictures_are_exact_and_kept(page: Page, client: httpx.Client) -> None:
    digest = client.get("/api/state").json()["project"]["digest"]
    answer = client.get(f"/frame/{digest}/3.png")
    shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    with page.studio.open_desk.edit.pictures() as context:
        assert np.array_equal(shown, context.rgb(3))
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(f"/frame/{digest}/3.png", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert not again.content
    assert client.get(f"/frame/{digest}/999.png").status_code == 400
    assert client.get(f"/frame/{'0' * 16}/3.png").status_code == 400
    assert client.get(f"/frame/{digest}/3.jpg?w=77").status_code == 400
    small = cv2.imdecode(np.frombuffer(client.get(f"/strip/{digest}/5.jpg").content, np.uint8), cv2.IMREAD_COLOR)
    assert small.shape[:2] == (120, 160)


# Saying, running


def test_the_whole_job(page: Page, client: httpx.Client) -> None:
    began = client.get("/api/state").json()
    answer = said(client, "/api/say", object="disc", frame=0, points=[[40, 60]])
    assert len(answer["candidates"]) == 1 and answer["more"], "the best one alone, to be soon"
    best = label_map(client, 0)
    other = said(client, "/api/say", object="disc", frame=0, points=[[40, 60]], candidate=1)
    assert len(other["candidates"]) == 3 and not other["more"]
    assert not np.array_equal(label_map(client, 0), best)
    answer = said(client, "/api/say", object="disc", frame=0, points=[[40, 60]])
    assert np.array_equal(label_map(client, 0), best)
    assert answer["state"]["revision"] != began["revision"]
    first = label_map(client, 0)
    assert first[60, 40] == 1
    assert first[5, 150] == 0
    assert client.get(f"/api/state?since={client.get('/api/state').json()['revision']}").status_code in (200, 204)

    plan = said(client, "/api/plan", kind="track")
    assert next(one for one in plan["stages"] if one["name"] == "propagate")["frames_run"] > 0
    said(client, "/api/run", kind="track")
    job = finished(client)
    assert job["status"] == "done", job
    _until(client, lambda state: state["complete"])
    track = client.get("/api/track").json()
    assert set(track["states"]) == {"2"}
    assert label_map(client, 11)[60, 84] == 1
    assert all(trust is not None for trust in track["trust"]["disc"])

    # A correction: absent from frame 8 on; only what reads it runs again.
    said(client, "/api/say", object="disc", frame=8, absent=True)
    assert client.get("/api/track").json()["states"][8] == "3"
    said(client, "/api/run", kind="remove", container=".mkv", lossless=True)
    job = finished(client)
    assert job["status"] == "done", job
    assert not label_map(client, 10).any()
    name = job["output"]
    video = client.get(f"/download/{name}")
    assert "attachment" in video.headers["content-disposition"]
    with av.open(io.BytesIO(video.content)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 12
    assert frames[0][60, 40, 0] < 150  # the red has gone ...
    assert frames[10][60, 80, 0] > 150  # ... but not where it was said to be absent
    shown = cv2.imdecode(np.frombuffer(client.get(f"/result/{name}/4.png").content, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown[:, :, ::-1], frames[4])

    said(client, "/api/undo")
    prompts = client.get("/api/state").json()["objects"][0]["prompts"]
    assert [prompt["frame"] for prompt in prompts] == [0]
    said(client, "/api/redo")
    assert len(client.get("/api/state").json()["objects"][0]["prompts"]) == 2
    said(client, "/api/copy", object="disc", frame=8, to=9, move=True)
    assert [prompt["frame"] for prompt in client.get("/api/state").json()["objects"][0]["prompts"]] == [0, 9]
    said(client, "/api/rename", object="disc", to="red disc")
    assert [item["name"] for item in client.get("/api/state").json()["objects"]] == ["red disc"]
    said(client, "/api/run", kind="export", format="davis")
    job = finished(client)
    assert job["status"] == "done", job
    packed = client.get(f"/download/{job['output']}")
    assert packed.content[:2] == b"PK"


def _until(client: httpx.Client, holds: Any) -> None:
    for _ in range(300):
        if holds(client.get("/api/state").json()):
            return
        time.sleep(0.1)
    raise TimeoutError("the state that was waited for never came")


def test_a_painted_mask_is_kept_bit_for_bit(page: Page, client: httpx.Client) -> None:
    mask = np.zeros((120, 160), bool)
    mask[10:30, 20:50] = True
    mask[12, 21] = False
    flat = mask.reshape(-1)
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    said(client, "/api/say", object="painted", frame=2, mask=runs)
    label = next(item["label"] for item in client.get("/api/state").json()["objects"] if item["name"] == "painted")
    assert np.array_equal(label_map(client, 2) == label, mask)
    said(client, "/api/forget", object="painted")


def test_scribbles_and_a_polished_mask(page: Page, client: httpx.Client) -> None:
    along, beside = [[28, 60], [40, 66], [52, 60]], [[100, 20], [120, 90]]
    said(client, "/api/say", object="drawn", frame=0, scribbles=[along], negative_scribbles=[beside])
    (prompt,) = client.get("/api/state").json()["objects"][-1]["prompts"]
    assert (prompt["scribbles"], prompt["negative_scribbles"], prompt["kind"]) == ([along], [beside], "clicks")
    label = len(client.get("/api/state").json()["objects"])
    disc = label_map(client, 0) == label
    assert disc[60, 40] and not disc[20, 100] and abs(int(disc.sum()) - 1257) < 150

    # What is shown is redrawn along edges; the rough mask is kept, and comes back.
    rough = disc.copy()
    rough[40:50, 58:66] = True
    edges = np.flatnonzero(np.diff(rough.reshape(-1).astype(np.int8))) + 1
    runs = np.diff(np.concatenate(([0], edges, [rough.size]))).tolist()
    said(client, "/api/say", object="drawn", frame=0, mask=runs)
    said(client, "/api/say", object="drawn", frame=0, polish=True)
    assert client.get("/api/state").json()["objects"][-1]["prompts"][0]["polish"]
    polished = label_map(client, 0) == label
    assert (polished ^ disc).sum() < (rough ^ disc).sum() / 2
    said(client, "/api/say", object="drawn", frame=0, polish=False)
    assert np.array_equal(label_map(client, 0) == label, rough)
    said(client, "/api/forget", object="drawn")


def test_another_project_lies_behind_and_pictures_come_out(page: Page, client: httpx.Client, tmp_path: Path) -> None:
    said(client, "/api/say", object="disc behind", frame=0, points=[[40, 60]])
    other = classic_project(page.folder / "disc.mkv", page.folder / "other.edit")
    other.mark("disc", points=[(40, 60)])
    assert client.get("/api/state").json()["projects"] == ["other.edit"]
    behind = {"background": "project:other.edit", "objects": ["disc behind"], "invert": False}
    said(client, "/api/run", kind="replace", container="pictures", **behind)
    job = finished(client)
    assert job["status"] == "done", job["words"]
    with zipfile.ZipFile(io.BytesIO(client.get(f"/download/{job['output']}").content)) as archive:
        assert len(archive.namelist()) == 12
    refused = client.post("/api/run", json={"kind": "replace", **behind, "background": "project:../x"}, headers=OWN)
    assert refused.status_code == 400 and "no project" in refused.json()["error"]
    said(client, "/api/forget", object="disc behind")
    shutil.rmtree(page.folder / "other.edit")


def test_settings_said_at_once_all_hold(client: httpx.Client) -> None:
    wanted: list[dict[str, Any]] = [{"erode_px": 2}, {"matte": "hard"}, {"smooth": False}, {"mend": False}]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: said(client, "/api/settings", **one), wanted))
    now = client.get("/api/state").json()["settings"]
    assert all(now[name] == value for one in wanted for name, value in one.items()), now
    said(client, "/api/settings", erode_px=None, matte="auto", smooth=True, mend=True)


def test_alter_render_refine_and_colours(page: Page, client: httpx.Client) -> None:
    said(client, "/api/say", object="ball", frame=0, points=[[40, 60]])
    said(client, "/api/colour", object="ball", colour="#FF00FF")
    said(client, "/api/rename", object="ball", to="moon")
    assert client.get("/api/state").json()["objects"][-1]["colour"] == "#ff00ff"
    said(client, "/api/run", kind="refine")
    assert finished(client)["status"] == "done"
    assert client.get("/api/state").json()["settings"]["refine"] == "always"
    said(client, "/api/settings", refine="never")
    said(client, "/api/run", kind="alter", how={"pixelate": 4}, objects=["moon"], container=".mkv", lossless=True)
    job = finished(client)
    assert job["status"] == "done" and job["output"].startswith("altered-"), job

    # A picture that was sent, behind; then the same in a list.
    _, png = cv2.imencode(".png", np.full((40, 60, 3), 200, np.uint8))
    sent = client.post("/api/upload/background", content=png.tobytes(), headers={**OWN, "X-File-Name": "sky.png"})
    name = sent.json()["name"]
    behind = {"kind": "replace", "background": f"file:{name}", "look": {"fit": "tile", "scale": 0.5, "grain": "auto"}}
    plan = said(client, "/api/plan", **behind)
    assert any(stage["name"] == "encode" for stage in plan["stages"])
    said(client, "/api/effects/add", **behind)
    added = said(client, "/api/effects/add", kind="remove", objects=["moon"])["effects"]
    assert [one["do"] for one in added] == ["remove", "replace"], "removals come first"
    assert added[1]["background"] == "sky.png"
    said(client, "/api/effects/drop", index=0)
    said(client, "/api/run", kind="render", container=".mkv", lossless=True)
    job = finished(client)
    assert job["status"] == "done", job["words"]
    assert job["output"].startswith("rendered-")
    shown = cv2.imdecode(np.frombuffer(client.get(f"/result/{job['output']}/0.png").content, np.uint8), 1)
    assert abs(float(shown[5, 150].mean()) - 200) < 40
    said(client, "/api/effects/drop", index=0)
    said(client, "/api/forget", object="moon")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/api/say", {"object": "x", "frame": 99, "points": [[1, 1]]}),
        ("/api/say", {"object": "x", "frame": 0, "points": [[999, 1]]}),
        ("/api/say", {"object": "x", "frame": 0, "points": "all"}),
        ("/api/say", {"object": "a,b", "frame": 0, "points": [[1, 1]]}),
        ("/api/say", {"object": "x", "frame": 0, "mask": [1, 2]}),
        ("/api/say", {"object": "x", "frame": 0, "mask": [19200, -5, 5]}),
        ("/api/say", {"object": "x", "frame": True, "points": [[1, 1]]}),
        ("/api/say", {"object": "x", "frame": 0}),
        ("/api/say", {"object": "x", "frame": 0, "scribbles": [[[1, 1], [999, 1]]]}),
        ("/api/say", {"object": "x", "frame": 0, "scribbles": [[]]}),
        ("/api/say", {"object": "x", "frame": 0, "scribbles": {"a": 1}}),
        ("/api/say", {"object": "x", "frame": 0, "negative_scribbles": [[[1, 1]]]}),
        ("/api/say", {"object": "x", "frame": 0, "polish": True}),
        ("/api/unmark", {"object": "nobody", "frame": 0}),
        ("/api/settings", {"tracker": "magic"}),
        ("/api/settings", {"dilate_px": -3}),
        ("/api/settings", {"path": "/etc"}),
        ("/api/run", {"kind": "replace", "background": "/etc/passwd"}),
        ("/api/run", {"kind": "replace", "background": "file:../edit.json"}),
        ("/api/run", {"kind": "remove", "container": "/../x.mp4"}),
        ("/api/run", {"kind": "export", "format": "../x"}),
        ("/api/run", {"kind": "delete"}),
        ("/api/run", {"kind": "replace", "background": "blur", "look": {"scale": 0}}),
        ("/api/run", {"kind": "replace", "background": "blur", "look": {"fit": "squeeze"}}),
        ("/api/run", {"kind": "replace", "background": "#../../edit.json"}),
        ("/api/run", {"kind": "replace", "background": "blur", "look": {"background": "/etc/passwd"}}),
        ("/api/run", {"kind": "alter"}),
        ("/api/run", {"kind": "alter", "how": {"recolour": "red"}}),
        ("/api/run", {"kind": "alter", "how": {"picture": "/etc/passwd"}}),
        ("/api/run", {"kind": "alter", "how": {"pixelate": 8, "blur": "auto"}}),
        ("/api/run", {"kind": "remove", "background": "blur"}),
        ("/api/run", {"kind": "track", "frames": 3}),
        ("/api/effects/add", {"kind": "export"}),
        ("/api/effects/add", {"kind": "replace", "background": "transparent"}),
        ("/api/effects/drop", {"index": 9}),
        ("/api/colour", {"object": "nobody", "colour": "#123456"}),
        ("/api/settings", {"matte": "furry"}),
        ("/api/settings", {"smooth": "yes"}),
        ("/api/copy", {"object": "nobody", "frame": 0, "to": 1}),
        ("/api/judge", {"object": "x", "frame": 0, "verdict": "fine"}),
    ],
)
def test_what_cannot_be_meant_is_said_in_words(client: httpx.Client, path: str, values: dict[str, Any]) -> None:
    before = client.get("/api/state").json().get("objects")
    answer = client.post(path, json=values, headers=OWN)
    assert answer.status_code == 400, answer.text
    assert len(answer.json()["error"]) > 10
    assert "Traceback" not in answer.text
    assert client.get("/api/state").json().get("objects") == before


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[" * 5000, b"\xff\xfe"])
def test_requests_that_are_no_json_objects(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/api/say", content=body, headers=OWN)
    assert answer.status_code == 400
    assert answer.json()["error"]


# Sending files


def test_uploads_are_bounded_and_leave_nothing(tmp_path: Path) -> None:
    with served(tmp_path, upload_limit_bytes=1000) as found, httpx.Client(base_url=found.url, timeout=60) as client:
        headers = {**OWN, "X-File-Name": "big.mp4"}
        assert client.post("/api/upload/clip", content=b"x" * 2000, headers=headers).status_code == 400

        def unannounced() -> Iterator[bytes]:
            for _ in range(40):
                yield b"x" * 100

        assert client.post("/api/upload/clip", content=unannounced(), headers=headers).status_code == 400
        words = client.post("/api/upload/clip", content=b"x" * 500, headers=headers)
        assert words.status_code == 400  # small enough, but no video
        assert client.post("/api/upload/clip", content=b"x", headers={**OWN, "X-File-Name": "a.exe"}).status_code == 400
        assert list(tmp_path.iterdir()) == []
        assert client.get("/api/state").json()["project"] is None


def test_one_project_per_server(client: httpx.Client) -> None:
    answer = client.post("/api/upload/clip", content=b"x", headers={**OWN, "X-File-Name": "a.mp4"})
    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/x.MOV", "x.mov"),
        ("C:\\films\\a b.mkv", "a-b.mkv"),
        ("%2e%2e%2fq.webm", "q.webm"),
        ("ü\x00.mp4", "clip.mp4"),
        ("?.mp4", "clip.mp4"),
    ],
)
def test_names_of_sent_files(given: str, name: str) -> None:
    assert safe_name(given, VIDEO_SUFFIXES) == name


def test_hand_edits_of_the_script_show_up(page: Page, client: httpx.Client) -> None:
    project = page.studio.open_desk.edit.project
    assert project is not None
    tree = json.loads(project.script_path.read_text())
    tree["objects"].append({"name": "by hand", "prompts": [{"frame": 1, "absent": True}]})
    project.script_path.write_text(json.dumps(tree))
    assert "by hand" in [item["name"] for item in client.get("/api/state").json()["objects"]]
    good = project.script_path.read_text()
    project.script_path.write_text(good.replace('"by hand"', "by hand"))
    broken = client.get("/api/state").json()
    assert "line" in broken["problem"]
    project.script_path.write_text(good)
    _until(client, lambda state: not state["problem"])
