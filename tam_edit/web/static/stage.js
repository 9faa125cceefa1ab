// The picture: where it lies (zoom and pan), and drawing frame, overlay, prompts, comparison and what the hand holds.

import { WIDTHS, css, maps, overlay, pictures, small } from "/static/media.js";

const canvas = document.getElementById("stage");
const context = canvas.getContext("2d", { alpha: false });
const split = document.getElementById("split");
const hint = document.getElementById("hint");

let app;
let scale = 0, left = 0, top_ = 0, fitted = true; // CSS pixels a clip pixel; where the clip's corner lies
// What the hand holds (see hand.js), drawn here: the keyboard's cross, where the pointer is, a box, a stroke, a scribble.
export const held = { cross: null, hover: null, box: null, stroke: null, line: null };
let layer = null, layerOf = "", layerImage = null;
let lastFrame = null, lastMap = null, blinkOn = false, wanted = false;

export function start(given) {
  app = given;
  new ResizeObserver(() => { if (fitted) fit(); else draw(); }).observe(canvas);
  split.addEventListener("input", draw);
  setInterval(() => { if (app.compare === "blink") { blinkOn = !blinkOn; draw(); } }, 500);
}

// Where things lie

export const size = () => app.state.project.size;
const stretch = () => app.state.project.aspect || 1;
export const toClip = (x, y) => [(x - left) / (scale * stretch()), (y - top_) / scale];
export const toScreen = ([x, y]) => [left + (x + 0.5) * scale * stretch(), top_ + (y + 0.5) * scale];

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

export function panBy(dx, dy) { left += dx; top_ += dy; fitted = false; draw(); }
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
  canvas.dataset.result = result ? frame : ""; // for tests, as what is shown
  if (app.overlay === "result" && result && !app.compare) shown = result;
  if (blinks && blinkOn && result) shown = result;
  try { if (shown) context.drawImage(shown, 0, 0, width, height); } catch { lastFrame = null; }
  const map = currentMap(frame);
  if (map) {
    context.imageSmoothingEnabled = false;
    context.drawImage(overlayLayer(map), 0, 0, width, height);
  }
  canvas.dataset.view = [left, top_, scale * stretch(), scale].join(" "); // for tests: where the clip's pixels lie
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
  if (held.stroke && held.stroke.frame === frame) return held.stroke.map;
  const url = mapUrl(frame);
  if (!url) { lastMap = null; return app.overlay === "matte" ? empty() : null; }
  const found = maps.peek(url);
  if (found) { lastMap = { frame, map: found }; return found; }
  maps.load(url).then(draw, () => app.reloadTrack());
  return lastMap && lastMap.frame === frame ? lastMap.map : null;
}

export function empty() {
  const [width, height] = size();
  return { width, height, data: new Uint8Array(width * height) };
}

function countOf(map) {
  const label = app.label();
  if (map.counted === label && map !== (held.stroke && held.stroke.map)) return map.count;
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
  if (layerOf !== name || layer.map !== map || held.stroke) {
    overlay(map, app.overlay, layerImage);
    layer.getContext("2d").putImageData(layerImage, 0, 0);
    layerOf = name; layer.map = map;
  }
  return layer;
}

function drawPrompts(ratio) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const { box, line, cross, hover } = held;
  for (const item of app.state.objects) {
    const prompt = item.prompts.find((one) => one.frame === app.frame);
    if (!prompt) continue;
    context.globalAlpha = item.name === app.object ? 1 : 0.45;
    for (const one of [prompt.box, ...(prompt.boxes || [])]) if (one) outlineBox(one, css(item.label));
    for (const one of prompt.scribbles || []) scribble(one, css(item.label), false);
    for (const one of prompt.negative_scribbles || []) scribble(one, css(item.label), true);
    for (const [list, sign] of [[prompt.points, "+"], [prompt.negative, "−"]]) for (const point of list) dot(toScreen(point), sign, css(item.label));
    context.globalAlpha = 1;
  }
  if (box) outlineBox(box, "#fff");
  if (line) scribble(line.points, app.label() ? css(app.label()) : "#fff", line.negative);
  if (cross && document.activeElement === canvas) {
    const [x, y] = toScreen(cross);
    context.lineWidth = 3; context.strokeStyle = "#000"; crossLines(x, y);
    context.lineWidth = 1.2; context.strokeStyle = "#fff"; crossLines(x, y);
  }
  const painter = ["brush", "eraser"].includes(app.tool) && (hover || (cross && document.activeElement === canvas && toScreen(cross)));
  if (painter) {
    context.beginPath();
    context.ellipse(painter[0], painter[1], app.brush() * scale * stretch(), app.brush() * scale, 0, 0, 7);
    context.lineWidth = 1.5; context.strokeStyle = app.tool === "brush" ? "#fff" : "#ff8f87"; context.stroke();
  }
}

// A line along the object in its colour, one beside it dark and dashed.
function scribble(points, ink, negative) {
  context.beginPath();
  points.map(toScreen).forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = 6; context.strokeStyle = "#fff"; context.stroke();
  if (negative) context.setLineDash([7, 7]);
  context.lineWidth = 3.5; context.strokeStyle = negative ? "#1b1b1b" : ink; context.stroke();
  context.setLineDash([]);
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
