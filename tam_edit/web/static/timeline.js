// The timeline: ruler and cuts, film strip, what is tracked, keyframes and trust of every object.

import { css, small } from "/static/media.js";

const canvas = document.getElementById("timeline");
const context = canvas.getContext("2d");
const RULER = 16, STRIP = 44, STATE = 6, ROW = 22;

let app, from = 0, to = 1, wanted = false, grip = null;

export function start(given) {
  app = given;
  new ResizeObserver(draw).observe(canvas);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    grip = keyframeAt(event.offsetX, event.offsetY) || { scrub: true };
    app.scrubbing = Boolean(grip.scrub);
    if (grip.name) app.choose(grip.name);
    app.go(grip.scrub ? frameAt(event.offsetX) : grip.frame);
    grip.to = grip.frame;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grip) { canvas.style.cursor = keyframeAt(event.offsetX, event.offsetY) ? "ew-resize" : "pointer"; return; }
    if (grip.scrub) app.go(frameAt(event.offsetX)); else { grip.to = frameAt(event.offsetX); draw(); }
  });
  const letGo = (event) => {
    const done = grip;
    grip = null;
    if (app.scrubbing) { app.scrubbing = false; app.go(app.frame); }
    if (event.type === "pointerup" && done && done.name && done.to !== done.frame) app.moveKeyframe(done.name, done.frame, done.to, event.altKey || event.ctrlKey);
    draw();
  };
  canvas.addEventListener("pointerup", letGo);
  canvas.addEventListener("pointercancel", letGo);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frames = app.state.project.frames;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const by = (event.deltaX || event.deltaY) / canvas.clientWidth * (to - from);
      return look(from + by, to + by);
    }
    const at = from + event.offsetX / canvas.clientWidth * (to - from), factor = Math.exp(event.deltaY * 0.0015);
    const span = Math.min(Math.max((to - from) * factor, 12), frames);
    const begin = at - event.offsetX / canvas.clientWidth * span;
    look(begin, begin + span);
  }, { passive: false });
}

function look(begin, end) {
  const frames = app.state.project.frames, span = Math.min(end - begin, frames);
  from = Math.min(Math.max(begin, 0), frames - span);
  to = from + span;
  draw();
}

export function reset() { from = 0; to = Math.max(app.state.project.frames, 1); draw(); }
export function follow(frame) { if (frame < from || frame >= to) look(frame - (to - from) / 2, frame + (to - from) / 2); else draw(); }

const x = (frame) => (frame - from) / (to - from) * canvas.clientWidth;
const frameAt = (px) => Math.min(Math.max(Math.floor(from + px / canvas.clientWidth * (to - from)), 0), app.state.project.frames - 1);

function keyframeAt(px, py) {
  const row = Math.floor((py - RULER - STRIP - STATE) / ROW), item = app.state.objects[row];
  if (!item || py < RULER + STRIP + STATE) return null;
  let best = null;
  for (const prompt of item.prompts) {
    const away = Math.abs(x(prompt.frame + 0.5) - px);
    if (away < 9 && (!best || away < best.away)) best = { name: item.name, frame: prompt.frame, away };
  }
  return best;
}

export function draw() {
  if (wanted) return;
  wanted = true;
  requestAnimationFrame(() => { wanted = false; paint(); });
}

function paint() {
  if (!app.state || !app.state.project || !canvas.clientWidth) return;
  const height = Math.max(RULER + STRIP + STATE + ROW * Math.max(app.state.objects.length, 1) + 6, 112);
  if (canvas.clientHeight !== Math.min(height, 240)) canvas.style.height = `${Math.min(height, 240)}px`;
  const ratio = devicePixelRatio, width = canvas.clientWidth, high = canvas.clientHeight;
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(high * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(document.documentElement), ink = (name) => style.getPropertyValue(name);
  context.fillStyle = ink("--ground"); context.fillRect(0, 0, width, high);
  ruler(width, ink); strip(width); cuts(high, ink); states(width, ink); rows(width, ink); working(high, ink);
  const here = x(app.frame + 0.5);
  context.fillStyle = ink("--text"); context.fillRect(here - 1, 0, 2, high);
  context.beginPath(); context.moveTo(here - 6, 0); context.lineTo(here + 6, 0); context.lineTo(here, 8); context.fill();
  canvas.setAttribute("aria-valuemax", app.state.project.frames - 1);
  canvas.setAttribute("aria-valuenow", app.frame);
  canvas.setAttribute("aria-valuetext", `frame ${app.frame} of ${app.state.project.frames - 1}`);
}

function ruler(width, ink) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000];
  const step = steps.find((one) => one / (to - from) * width >= 56) || 1000000;
  context.font = "10px system-ui, sans-serif"; context.textBaseline = "top"; context.fillStyle = ink("--quiet");
  for (let frame = Math.ceil(from / step) * step; frame < to; frame += step) {
    context.fillRect(x(frame + 0.5), RULER - 4, 1, 4);
    context.fillText(String(frame), x(frame + 0.5) + 3, 2);
  }
}

function strip(width) {
  const [w, h] = app.state.project.size, each = Math.max(STRIP * w / h * (app.state.project.aspect || 1), 24);
  for (let px = 0; px < width; px += each) {
    const url = app.stripUrl(frameAt(px + each / 2)), found = small.peek(url);
    if (found) context.drawImage(found, px, RULER, each - 1, STRIP);
    else if (!grip) small.load(url).then(draw, () => {});
  }
}

function cuts(high, ink) {
  context.fillStyle = ink("--focus");
  for (const cut of app.state.project.cuts) { context.fillRect(x(cut) - 1, RULER, 2, high - RULER); context.fillRect(x(cut) - 4, RULER - 3, 8, 4); }
}

// Runs of equal values between two columns of pixels, drawn as one rectangle each.
function spans(width, value, drawSpan) {
  let begin = 0, last = value(Math.floor(from));
  for (let px = 1; px <= width; px++) {
    const now = px < width ? value(frameAt(px)) : NaN;
    if (now !== last) { drawSpan(begin, px, last); begin = px; last = now; }
  }
}

function states(width, ink) {
  if (!app.track) return;
  const inks = { 1: ink("--warn"), 2: ink("--good"), 3: ink("--accent") };
  spans(width, (frame) => app.track.states[frame], (a, b, state) => {
    if (!inks[state]) return;
    context.fillStyle = inks[state];
    // Out of date: broken, for those too to whom yellow and orange are one colour.
    const dash = state === "1" ? 6 : b - a;
    for (let px = a; px < b; px += dash === 6 ? 10 : dash) context.fillRect(px, RULER + STRIP + 1, Math.min(dash, b - px), STATE - 2);
  });
}

function rows(width, ink) {
  app.state.objects.forEach((item, index) => {
    const y = RULER + STRIP + STATE + index * ROW;
    if (item.name === app.object) { context.fillStyle = ink("--raised"); context.fillRect(0, y, width, ROW); }
    const trust = (app.track && app.track.trust[item.name]) || [];
    const gone = new Set((app.track && app.track.gone[item.name]) || []);
    spans(width, (frame) => (trust[frame] == null ? -1 : gone.has(frame) ? -2 : Math.round(trust[frame] * 20)), (a, b, level) => {
      if (level === -1) return;
      if (level === -2) { // absent: hatched
        context.fillStyle = ink("--line");
        for (let px = a; px < b; px += 4) context.fillRect(px, y + 4, 2, ROW - 8);
        return;
      }
      const tall = Math.max(2, (ROW - 6) * level / 20);
      context.fillStyle = level < 10 ? ink("--bad") : css(item.label);
      context.globalAlpha = level < 10 ? 1 : 0.55;
      context.fillRect(a, y + ROW - 3 - tall, b - a, tall);
      context.globalAlpha = 1;
    });
    context.font = "11px system-ui, sans-serif"; context.textBaseline = "middle";
    // The name is where no keyframe hides it.
    const wide = context.measureText(item.name).width;
    let at = 4;
    for (const prompt of item.prompts) { const px = x(prompt.frame + 0.5); if (px > at - 10 && px < at + wide + 10) at = px + 12; }
    context.fillStyle = ink("--ground"); context.globalAlpha = 0.8;
    context.fillRect(at - 2, y + 3, wide + 5, ROW - 6);
    context.fillStyle = ink("--text"); context.globalAlpha = 1;
    context.fillText(item.name, at, y + ROW / 2);
    for (const prompt of item.prompts) {
      const held = grip && grip.name === item.name && grip.frame === prompt.frame;
      diamond(x((held ? grip.to : prompt.frame) + 0.5), y + ROW / 2, css(item.label), prompt.kind === "absent", ink);
    }
  });
}

function diamond(cx, cy, fill, hollow, ink) {
  context.beginPath();
  context.moveTo(cx, cy - 7); context.lineTo(cx + 7, cy); context.lineTo(cx, cy + 7); context.lineTo(cx - 7, cy); context.closePath();
  context.fillStyle = hollow ? ink("--ground") : fill; context.fill();
  context.lineWidth = 2; context.strokeStyle = hollow ? fill : ink("--text"); context.stroke();
}

// Where the run is at work now.
function working(high, ink) {
  const job = app.state.job;
  if (!job || job.status !== "running" || !job.at) return;
  context.fillStyle = ink("--accent"); context.globalAlpha = 0.25;
  context.fillRect(x(job.at[1]), RULER, Math.max(x(job.at[2]) - x(job.at[1]), 3), high - RULER);
  context.globalAlpha = 1;
}
