// The picture: drawing frame, overlay, prompts and comparison; zoom and pan; the tools of hand and keyboard.

import { WIDTHS, css, maps, overlay, pictures, runs, small } from "/static/media.js";

const canvas = document.getElementById("stage");
const context = canvas.getContext("2d", { alpha: false });
const split = document.getElementById("split");
const hint = document.getElementById("hint");

let app;
let scale = 0, left = 0, top_ = 0, fitted = true; // CSS pixels a clip pixel; where the clip's corner lies
let cross = null, box = null, stroke = null, pan = null;
const fingers = new Map();
let layer = null, layerOf = "", layerImage = null;
let lastFrame = null, lastMap = null, blinkOn = false, wanted = false;

export function start(given) {
  app = given;
  new ResizeObserver(() => { if (fitted) fit(); else draw(); }).observe(canvas);
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", () => { fingers.clear(); box = stroke = pan = null; draw(); });
  canvas.addEventListener("pointerleave", () => { if (!stroke) { hover = null; draw(); } });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)));
  }, { passive: false });
  split.addEventListener("input", draw);
  setInterval(() => { if (app.compare === "blink") { blinkOn = !blinkOn; draw(); } }, 500);
}

// Where things lie

const size = () => app.state.project.size;
const stretch = () => app.state.project.aspect || 1;
const toClip = (x, y) => [(x - left) / (scale * stretch()), (y - top_) / scale];
const inside = ([x, y]) => x >= 0 && y >= 0 && x < size()[0] && y < size()[1];

export function fit() {
  if (!app.state || !app.state.project) return;
  const [width, height] = size();
  fitted = true;
  scale = Math.max(Math.min(canvas.clientWidth / (width * stretch()), canvas.clientHeight / height), 0.01);
  left = (canvas.clientWidth - width * stretch() * scale) / 2;
  top_ = (canvas.clientHeight - height * scale) / 2;
  draw();
}

export function zoomAt(x, y, factor) {
  const next = Math.min(Math.max(scale * factor, 0.05), 40);
  left = x - (x - left) * next / scale;
  top_ = y - (y - top_) * next / scale;
  scale = next;
  fitted = false;
  draw();
}

export const zoom = (factor) => zoomAt(canvas.clientWidth / 2, canvas.clientHeight / 2, factor);
export const oneToOne = () => zoom(1 / (scale * devicePixelRatio));

// Which addresses show a frame

const shownScale = () => scale * devicePixelRatio;
export function frameUrl(frame) {
  const { digest, size: [width] } = app.state.project;
  if (!app.playing && !app.scrubbing && shownScale() >= 1.5) return `/frame/${digest}/${frame}.png`; // exact pixels
  const need = Math.min(width, app.playing || app.scrubbing ? 960 : Math.max(width * shownScale(), 320));
  return `/frame/${digest}/${frame}.jpg?w=${WIDTHS.find((w) => w >= need) || 1920}`;
}
function resultUrl(frame) {
  if (!app.playing && shownScale() >= 1.5) return `/result/${app.result}/${frame}.png`;
  return frameUrl(frame).replace(/^\/frame\/[^/]+/, `/result/${app.result}`);
}
export const mapUrl = (frame) => {
  const digest = app.track && app.track.maps[frame];
  return digest ? `/map/${frame}/${digest}.png` : null;
};
const showsResult = () => app.result && (app.overlay === "result" || app.compare);
// Source and result are compared bare: a tint over them would hide what there is to see.
const showsMap = () => !["source", "result"].includes(app.overlay) && !(app.compare && app.result);

// What must be there before a frame can be shown as asked; `all` for playing.
export function urls(frame) {
  const list = [[pictures, frameUrl(frame)]];
  const map = showsMap() && mapUrl(frame);
  if (map) list.push([maps, map]);
  if (showsResult()) list.push([pictures, resultUrl(frame)]);
  return list;
}
export const isReady = (frame) => urls(frame).every(([kept, url]) => kept.peek(url));
export const prefetch = (frame) => Promise.allSettled(urls(frame).map(([kept, url]) => kept.load(url)));

// Drawing

export function repaint() { layerOf = ""; draw(); }

export function draw() {
  if (wanted) return;
  wanted = true;
  requestAnimationFrame(() => { wanted = false; paint(); });
}

function paint() {
  if (!app.state || !app.state.project || !canvas.clientWidth) return;
  const ratio = devicePixelRatio, [width, height] = size();
  const wide = Math.round(canvas.clientWidth * ratio), high = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  document.getElementById("zoom").value = `${Math.round(shownScale() * 100)} %`;
  const style = getComputedStyle(document.documentElement);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = style.getPropertyValue("--stage");
  context.fillRect(0, 0, wide, high);
  context.setTransform(ratio * scale * stretch(), 0, 0, ratio * scale, left * ratio, top_ * ratio);
  context.imageSmoothingEnabled = shownScale() < 1.5;
  context.imageSmoothingQuality = "high";

  const frame = app.frame, url = frameUrl(frame);
  let shown = pictures.peek(url);
  if (!shown) {
    // Few at a time: frames that were scrubbed past do not hold up the one on screen, which is asked for next.
    if (pictures.waiting < 3 || pictures.comes(url)) pictures.load(url).then(draw, () => app.say(`frame ${frame} cannot be read`, true));
    else pictures.any().then(draw, draw);
    shown = app.lastShown === frame ? lastFrame : small.peek(app.stripUrl(frame)) || lastFrame;
    if (!small.peek(app.stripUrl(frame))) small.load(app.stripUrl(frame)).then(draw, () => {});
  } else { lastFrame = shown; app.lastShown = frame; }
  canvas.dataset.shown = pictures.peek(url) ? frame : "";
  const blinks = app.compare === "blink" && app.result;
  const result = showsResult() ? wantedPicture(resultUrl(frame)) : null;
  if (app.overlay === "result" && result && !app.compare) shown = result;
  if (blinks && blinkOn && result) shown = result;
  try { if (shown) context.drawImage(shown, 0, 0, width, height); } catch { lastFrame = null; }
  const map = currentMap(frame);
  if (map) {
    context.imageSmoothingEnabled = false;
    context.drawImage(overlayLayer(map), 0, 0, width, height);
  }
  canvas.dataset.area = map ? String(countOf(map)) : "0";
  split.hidden = !(app.compare === "split" && app.result);
  if (!split.hidden && result) drawSplit(result, width, height);
  if (app.overlay !== "result" && !app.playing && !app.compare) drawPrompts(ratio);
  hint.textContent = app.hint();
}

function wantedPicture(url) {
  const found = pictures.peek(url);
  if (!found) pictures.load(url).then(draw, () => {});
  return found;
}

function drawSplit(result, width, height) {
  const at = toClip(split.value / 1000 * canvas.clientWidth, 0)[0];
  context.save();
  context.beginPath();
  context.rect(at, -1e5, 1e6, 2e5);
  context.clip();
  context.imageSmoothingEnabled = shownScale() < 1.5;
  context.drawImage(result, 0, 0, width, height);
  context.restore();
  context.fillStyle = "#fff";
  context.fillRect(at - 0.75 / scale, 0, 1.5 / scale, height);
}

// The map on screen: the stroke that is being painted, else what the server says, else none.
function currentMap(frame) {
  if (!showsMap()) return null;
  if (stroke) return stroke.map;
  const url = mapUrl(frame);
  if (!url) { lastMap = null; return app.overlay === "matte" ? empty() : null; }
  const found = maps.peek(url);
  if (found) { lastMap = { frame, map: found }; return found; }
  maps.load(url).then(draw, () => app.reloadTrack());
  return lastMap && lastMap.frame === frame ? lastMap.map : null;
}

function empty() {
  const [width, height] = size();
  return { width, height, data: new Uint8Array(width * height) };
}

function countOf(map) {
  const label = app.label();
  if (map.counted === label && !stroke) return map.count;
  let count = 0;
  for (let at = 0; at < map.data.length; at++) if (map.data[at] === label) count++;
  map.counted = label; map.count = count;
  return count;
}

function overlayLayer(map) {
  const name = `${app.overlay} ${map.width}`;
  if (!layer || layer.width !== map.width || layer.height !== map.height) {
    layer = new OffscreenCanvas(map.width, map.height);
    layerImage = new ImageData(map.width, map.height);
    layerOf = "";
  }
  if (layerOf !== name || layer.map !== map || stroke) {
    overlay(map, app.overlay, layerImage);
    layer.getContext("2d").putImageData(layerImage, 0, 0);
    layerOf = name; layer.map = map;
  }
  return layer;
}

function drawPrompts(ratio) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const place = ([x, y]) => [left + (x + 0.5) * scale * stretch(), top_ + (y + 0.5) * scale];
  for (const item of app.state.objects) {
    const prompt = item.prompts.find((one) => one.frame === app.frame);
    if (!prompt) continue;
    context.globalAlpha = item.name === app.object ? 1 : 0.45;
    for (const one of [prompt.box, ...(prompt.boxes || [])]) if (one) outlineBox(one, css(item.label));
    for (const [list, sign] of [[prompt.points, "+"], ...(prompt.scribbles || []).map((line) => [line, "·"]), [prompt.negative, "−"]]) for (const point of list) dot(place(point), sign, css(item.label));
    context.globalAlpha = 1;
  }
  if (box) outlineBox(box, "#fff");
  if (cross && document.activeElement === canvas) {
    const [x, y] = place(cross);
    context.lineWidth = 3; context.strokeStyle = "#000"; crossLines(x, y);
    context.lineWidth = 1.2; context.strokeStyle = "#fff"; crossLines(x, y);
  }
  if (["brush", "eraser"].includes(app.tool) && hover) {
    context.beginPath();
    context.ellipse(hover[0], hover[1], app.brush() * scale * stretch(), app.brush() * scale, 0, 0, 7);
    context.lineWidth = 1.5; context.strokeStyle = app.tool === "brush" ? "#fff" : "#ff8f87"; context.stroke();
  }
}

function crossLines(x, y) {
  context.beginPath();
  context.moveTo(x - 12, y); context.lineTo(x + 12, y); context.moveTo(x, y - 12); context.lineTo(x, y + 12);
  context.stroke();
}

function outlineBox([x0, y0, x1, y1], line) {
  context.setLineDash([6, 4]); context.lineWidth = 2; context.strokeStyle = line;
  context.strokeRect(left + x0 * scale * stretch(), top_ + y0 * scale, (x1 - x0) * scale * stretch(), (y1 - y0) * scale);
  context.setLineDash([]);
}

function dot([x, y], sign, fill) {
  context.beginPath(); context.arc(x, y, 7, 0, 7);
  context.fillStyle = sign === "+" ? fill : "#1b1b1b"; context.fill();
  context.lineWidth = 2; context.strokeStyle = "#fff"; context.stroke();
  context.beginPath(); context.moveTo(x - 3.5, y); context.lineTo(x + 3.5, y);
  if (sign === "+") { context.moveTo(x, y - 3.5); context.lineTo(x, y + 3.5); }
  context.stroke();
}

// The hand

let hover = null;

function down(event) {
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
  if (fingers.size === 2) { box = stroke = null; pan = { pinch: true }; return; }
  const at = [event.offsetX, event.offsetY];
  if (event.button === 1 || app.tool === "pan") { pan = { from: at, left, top: top_ }; return; }
  const point = toClip(...at).map(Math.floor);
  if (!inside(point) && app.tool !== "box") return;
  if (app.playing) return;
  if (app.tool === "box") box = [point[0], point[1], point[0] + 1, point[1] + 1, ...point];
  else if (app.tool === "brush" || app.tool === "eraser") beginStroke(point, event.button === 2 || event.shiftKey);
  else if (!removeNear(at)) app.point(point, app.tool === "exclude" || event.button === 2 || event.shiftKey || event.altKey);
}

function move(event) {
  const at = [event.offsetX, event.offsetY];
  hover = at;
  if (fingers.has(event.pointerId) && pan && pan.pinch && fingers.size === 2) {
    const before = [...fingers.values()];
    fingers.set(event.pointerId, at);
    const after = [...fingers.values()];
    const middle = (two) => [(two[0][0] + two[1][0]) / 2, (two[0][1] + two[1][1]) / 2];
    const far = (two) => Math.hypot(two[0][0] - two[1][0], two[0][1] - two[1][1]);
    const [m0, m1] = [middle(before), middle(after)];
    left += m1[0] - m0[0]; top_ += m1[1] - m0[1];
    zoomAt(m1[0], m1[1], far(after) / Math.max(far(before), 1));
    return;
  }
  if (pan && pan.from) { left = pan.left + at[0] - pan.from[0]; top_ = pan.top + at[1] - pan.from[1]; fitted = false; }
  const point = toClip(...at);
  if (box) {
    const [x, y] = [Math.min(Math.max(Math.round(point[0]), 0), size()[0]), Math.min(Math.max(Math.round(point[1]), 0), size()[1])];
    box = [Math.min(x, box[4]), Math.min(y, box[5]), Math.max(x, box[4]), Math.max(y, box[5]), box[4], box[5]];
  }
  if (stroke) strokeTo(point.map(Math.floor));
  if (box || stroke || pan || ["brush", "eraser"].includes(app.tool)) draw();
}

function up(event) {
  fingers.delete(event.pointerId);
  if (pan && (!pan.pinch || fingers.size === 0)) pan = null;
  if (box) {
    const sides = box.slice(0, 4);
    box = null;
    if (sides[2] - sides[0] > 2 && sides[3] - sides[1] > 2) app.box(sides);
  }
  if (stroke) {
    const done = stroke;
    app.mask(runs(done.map, done.label)).finally(() => { if (stroke === done) stroke = null; draw(); });
  }
  draw();
}

// A click on a point that is there takes it away again.
function removeNear([x, y]) {
  const prompt = app.prompt();
  if (!prompt) return false;
  const near = (point) => Math.hypot(left + (point[0] + 0.5) * scale * stretch() - x, top_ + (point[1] + 0.5) * scale - y) < 9;
  for (const list of ["points", "negative"]) {
    const found = prompt[list].findIndex(near);
    if (found >= 0) { app.dropPoint(list, found); return true; }
  }
  return false;
}

function beginStroke(point, reversed) {
  const label = app.label();
  if (!label) { app.say("Say what the object is first: click on it, or draw a box around it.", true); return; }
  const url = mapUrl(app.frame), known = url && maps.peek(url);
  const map = empty();
  if (known) map.data.set(known.data);
  stroke = { map, label, erase: (app.tool === "eraser") !== reversed, last: point };
  strokeTo(point);
  draw();
}

function strokeTo(point) {
  const [x0, y0] = stroke.last, [x1, y1] = point, radius = app.brush();
  const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(radius / 2, 1)));
  for (let step = 0; step <= steps; step++) disc(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps, radius);
  stroke.last = point;
}

function disc(cx, cy, radius) {
  const { map: { width, height, data }, label, erase } = stroke;
  for (let y = Math.max(0, Math.ceil(cy - radius)); y <= Math.min(height - 1, cy + radius); y++) {
    const half = Math.sqrt(radius * radius - (y - cy) * (y - cy));
    for (let x = Math.max(0, Math.ceil(cx - half)); x <= Math.min(width - 1, cx + half); x++) {
      const at = y * width + x;
      if (!erase) data[at] = label; else if (data[at] === label) data[at] = 0;
    }
  }
}

// The keyboard on the picture: a cross that moves, and Enter.
export function key(event) {
  if (document.activeElement !== canvas) return false;
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const [width, height] = size();
  if (!cross) cross = [Math.floor(width / 2), Math.floor(height / 2)];
  if (event.shiftKey && ways[event.key]) {
    const step = event.ctrlKey || event.metaKey ? 1 : Math.max(2, Math.round(width / 64));
    cross = [Math.min(Math.max(cross[0] + ways[event.key][0] * step, 0), width - 1), Math.min(Math.max(cross[1] + ways[event.key][1] * step, 0), height - 1)];
    draw();
    return true;
  }
  if (event.key === "Enter") { app.point(cross, event.shiftKey || app.tool === "exclude"); return true; }
  return false;
}
