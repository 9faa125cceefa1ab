// The hand on the picture: points, boxes, brush, eraser and scribbles by pointer, and the same by the keyboard's cross.

import { maps, runs } from "/static/media.js";
import * as stage from "/static/stage.js";

const canvas = document.getElementById("stage");
const { held } = stage;
const MOST_POINTS = 60; // of a scribble: five stand for it in the end
const fingers = new Map();
let app, pan = null;

export function start(given) {
  app = given;
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", () => { fingers.clear(); letGo(); });
  canvas.addEventListener("pointerleave", () => { if (!held.stroke) { held.hover = null; stage.draw(); } });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    stage.zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)));
  }, { passive: false });
}

// Let go of whatever is held, without having said anything.
export function letGo() {
  const had = held.box || held.stroke || held.line;
  held.box = held.stroke = held.line = pan = null;
  stage.draw();
  return Boolean(had);
}

const inside = ([x, y]) => { const [width, height] = stage.size(); return x >= 0 && y >= 0 && x < width && y < height; };
function nearest([x, y]) {
  const [width, height] = stage.size();
  return [Math.min(Math.max(Math.floor(x), 0), width - 1), Math.min(Math.max(Math.floor(y), 0), height - 1)];
}

// The pointer

function down(event) {
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  const at = [event.offsetX, event.offsetY];
  fingers.set(event.pointerId, at);
  if (fingers.size === 2) { letGo(); pan = { pinch: true }; return; }
  if (event.button === 1 || app.tool === "pan") { pan = { from: at }; return; }
  const point = stage.toClip(...at).map(Math.floor);
  if ((!inside(point) && app.tool !== "box") || app.playing) return;
  const reversed = event.button === 2 || event.shiftKey || event.altKey;
  if (takes()) begin(point, reversed);
  else if (!removeNear(at)) app.point(point, app.tool === "exclude" || reversed);
}

function move(event) {
  const at = [event.offsetX, event.offsetY];
  held.hover = at;
  if (fingers.has(event.pointerId) && pan && pan.pinch && fingers.size === 2) {
    const before = [...fingers.values()];
    fingers.set(event.pointerId, at);
    const after = [...fingers.values()];
    const middle = (two) => [(two[0][0] + two[1][0]) / 2, (two[0][1] + two[1][1]) / 2];
    const far = (two) => Math.hypot(two[0][0] - two[1][0], two[0][1] - two[1][1]);
    const [m0, m1] = [middle(before), middle(after)];
    stage.panBy(m1[0] - m0[0], m1[1] - m0[1]);
    stage.zoomAt(m1[0], m1[1], far(after) / Math.max(far(before), 1));
    return;
  }
  if (pan && pan.from) { stage.panBy(at[0] - pan.from[0], at[1] - pan.from[1]); pan.from = at; }
  extend(stage.toClip(...at));
  if (["brush", "eraser"].includes(app.tool)) stage.draw();
}

function up(event) {
  fingers.delete(event.pointerId);
  if (pan && (!pan.pinch || fingers.size === 0)) pan = null;
  finish();
}

// A click on a point that is there takes it away again.
function removeNear([x, y]) {
  const prompt = app.prompt();
  if (!prompt) return false;
  const near = (point) => { const [px, py] = stage.toScreen(point); return Math.hypot(px - x, py - y) < 9; };
  for (const list of ["points", "negative"]) {
    const found = prompt[list].findIndex(near);
    if (found >= 0) { app.drop(list, found); return true; }
  }
  return false;
}

// Tools that are drawn with: pressed, moved, let go

const takes = () => ["box", "brush", "eraser", "scribble"].includes(app.tool);

function begin(point, reversed) {
  if (app.tool === "box") held.box = [point[0], point[1], point[0] + 1, point[1] + 1, ...point];
  else if (app.tool === "scribble") held.line = { points: [nearest(point)], negative: reversed };
  else beginStroke(point, reversed);
  stage.draw();
}

function extend(point) {
  const { box, line, stroke } = held;
  if (box) {
    const [x, y] = point.map((at, axis) => Math.min(Math.max(Math.round(at), 0), stage.size()[axis]));
    held.box = [Math.min(x, box[4]), Math.min(y, box[5]), Math.max(x, box[4]), Math.max(y, box[5]), box[4], box[5]];
  }
  if (line) {
    const next = nearest(point), last = line.points.at(-1);
    if (next[0] !== last[0] || next[1] !== last[1]) line.points.push(next);
  }
  if (stroke) strokeTo(point.map(Math.floor));
  if (box || line || stroke) stage.draw();
}

function finish() {
  const { box, line, stroke } = held;
  held.box = held.line = null;
  if (box && box[2] - box[0] > 2 && box[3] - box[1] > 2) app.box(box.slice(0, 4));
  if (line) scribbled(line);
  // The stroke stays on the screen until the server has it.
  if (stroke && !stroke.done) {
    stroke.done = true;
    app.mask(runs(stroke.map, stroke.label)).finally(() => { if (held.stroke === stroke) held.stroke = null; stage.draw(); });
  }
  stage.draw();
}

// A line; where the hand did not move, a click: on a line it takes that away, elsewhere it is a point.
function scribbled({ points, negative }) {
  const [x0, y0] = stage.toScreen(points[0]);
  if (points.some((point) => { const [x, y] = stage.toScreen(point); return Math.hypot(x - x0, y - y0) > 4; })) { app.scribble(thinned(points), negative); return; }
  const prompt = app.prompt();
  for (const list of ["scribbles", "negative_scribbles"]) {
    const found = ((prompt && prompt[list]) || []).findIndex((one) => awayFrom(one, [x0, y0]) < 8);
    if (found >= 0) { app.drop(list, found); return; }
  }
  if (!removeNear([x0, y0])) app.point(points[0], negative);
}

function awayFrom(line, [x, y]) {
  const spots = line.map(stage.toScreen);
  if (spots.length === 1) spots.push(spots[0]);
  return Math.min(...spots.slice(1).map(([bx, by], index) => {
    const [ax, ay] = spots[index], long = (bx - ax) ** 2 + (by - ay) ** 2;
    const along = long ? Math.min(Math.max(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / long, 0), 1) : 0;
    return Math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay));
  }));
}

function thinned(points) {
  if (points.length <= MOST_POINTS) return points;
  return Array.from({ length: MOST_POINTS }, (_, index) => points[Math.round(index * (points.length - 1) / (MOST_POINTS - 1))]);
}

function beginStroke(point, reversed) {
  const erase = (app.tool === "eraser") !== reversed;
  if (erase && !app.label()) { app.say("There is nothing to erase yet: click on the object, paint it, or draw a box around it.", true); return; }
  const label = app.paintedLabel();
  // What a stroke is painted into: the former one, where the server has not answered to it yet, else the mask that is known.
  const url = stage.mapUrl(app.frame), former = held.stroke && held.stroke.frame === app.frame && held.stroke.map;
  const known = former || (url && maps.peek(url)), map = stage.empty();
  if (url && !known) { app.say("The mask of this frame is on its way: paint again in a moment."); return; }
  if (known) map.data.set(known.data);
  held.stroke = { map, label, frame: app.frame, erase, last: point };
  strokeTo(point);
}

function strokeTo(point) {
  const { stroke } = held;
  if (stroke.done) return;
  const [x0, y0] = stroke.last, [x1, y1] = point, radius = app.brush();
  const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(radius / 2, 1)));
  for (let step = 0; step <= steps; step++) disc(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps, radius);
  stroke.last = point;
}

function disc(cx, cy, radius) {
  const { map: { width, height, data }, label, erase } = held.stroke;
  for (let y = Math.max(0, Math.ceil(cy - radius)); y <= Math.min(height - 1, cy + radius); y++) {
    const half = Math.sqrt(radius * radius - (y - cy) * (y - cy));
    for (let x = Math.max(0, Math.ceil(cx - half)); x <= Math.min(width - 1, cx + half); x++) {
      const at = y * width + x;
      if (!erase) data[at] = label; else if (data[at] === label) data[at] = 0;
    }
  }
}

// The keyboard on the picture: a cross that moves, and Enter. Drawing tools are pressed by Enter and let go by the next.
export function key(event) {
  if (document.activeElement !== canvas) return false;
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const [width, height] = stage.size(), way = ways[event.key];
  if (event.shiftKey && way && app.tool === "pan") { stage.panBy(-40 * way[0], -40 * way[1]); return true; }
  if (!held.cross) held.cross = [Math.floor(width / 2), Math.floor(height / 2)];
  if (event.shiftKey && way) {
    const step = event.ctrlKey || event.metaKey ? 1 : Math.max(2, Math.round(width / 64));
    held.cross = nearest([held.cross[0] + way[0] * step, held.cross[1] + way[1] * step]);
    held.hover = null;
    extend(held.cross);
    stage.draw();
    return true;
  }
  if (event.key === "Escape") return letGo();
  if (event.key !== "Enter" || app.playing) return false;
  if (!takes()) app.point(held.cross, event.shiftKey || app.tool === "exclude");
  else if (held.box || held.line || (held.stroke && !held.stroke.done)) finish();
  else begin(held.cross, event.shiftKey);
  return true;
}
