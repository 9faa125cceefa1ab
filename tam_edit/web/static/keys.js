// The keys, and the dialog that names them.

import { h, showPlan } from "/static/panels.js";
import { play, shuttle, toggle } from "/static/play.js";
import * as hand from "/static/hand.js";
import * as stage from "/static/stage.js";

const place = (id) => document.getElementById(id);
let app, acts;

export function start(given, can) {
  app = given;
  acts = can;
  document.addEventListener("keydown", pressed);
}

const KEYS = {
  ArrowLeft: () => { play(0); app.go(app.frame - 1); }, ArrowRight: () => { play(0); app.go(app.frame + 1); },
  PageUp: () => app.go(app.frame - 10), PageDown: () => app.go(app.frame + 10),
  Home: () => app.go(0), End: () => app.go(app.state.project.frames - 1),
  " ": toggle, j: () => shuttle(-1), k: () => play(0), l: () => shuttle(1),
  n: () => acts.nextDoubt(1), N: () => acts.nextDoubt(-1), "]": () => acts.nextKeyframe(1), "[": () => acts.nextKeyframe(-1),
  p: () => acts.tool("include"), x: () => acts.tool("exclude"), b: () => acts.tool("box"), s: () => acts.tool("scribble"), d: () => acts.tool("brush"), e: () => acts.tool("eraser"), h: () => acts.tool("pan"),
  c: () => app.pick(), r: () => app.polish(), a: () => app.absent(), f: stage.fit, 0: stage.oneToOne, "+": () => stage.zoom(1.25), "-": () => stage.zoom(0.8),
  o: () => { const modes = [...place("overlay").options].map((one) => one.value); acts.overlayAs(modes[(modes.indexOf(app.overlay) + 1) % modes.length]); },
  v: () => acts.compare(app.compare === "" ? "split" : app.compare === "split" ? "blink" : ""),
  Delete: () => app.prompt() && app.unmark(app.object, app.frame), "?": () => place("keys").showModal(),
  Escape: () => { play(0); acts.compare(""); showPlan(null); },
};

function pressed(event) {
  if (!app.state || !app.state.project || place("keys").open) return;
  const target = event.target, types = target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
  if (types && event.key !== "Escape") return;
  if ((event.ctrlKey || event.metaKey) && ["z", "y"].includes(event.key.toLowerCase())) {
    event.preventDefault();
    app.change(event.key === "z" && !event.shiftKey ? "/api/undo" : "/api/redo");
    return;
  }
  if (hand.key(event)) { event.preventDefault(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // Space and arrows belong to what is focused, where it uses them itself.
  if (target.matches("button, a, summary, input") && [" ", "Enter"].includes(event.key)) return;
  if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
}

const NAMED = [
  ["← →", "one frame"], ["Page up, down", "ten frames"], ["Home, End", "first, last frame"], ["Space", "play with overlay"],
  ["J K L", "play back, stop, on; again: faster"], ["N, Shift N", "next, former doubtful frame"], ["] [", "next, former keyframe"],
  ["P X B S D E H", "include, exclude, box, scribble, brush, eraser, move"], ["C, R, A", "next candidate, polish the mask, absent from here"], ["Del", "delete this keyframe"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"], ["O, V", "next overlay, compare"], ["F, 0, + −", "fit, 1:1, zoom"],
  ["On the picture", "Shift and arrows move the cross (with Move: the picture), Enter includes, Shift Enter excludes; box, scribble, brush and eraser begin with Enter and end with the next; the wheel zooms; right click excludes; a click on a point, and with Scribble on a line, takes it away"],
  ["On the timeline", "drag a keyframe to move it, with Ctrl to copy it; the wheel zooms"],
];
place("keys").append(h("h2", {}, "Keys"), h("dl", {}, NAMED.flatMap(([key, words]) => [h("dt", {}, key), h("dd", {}, words)])),
  h("button", { onclick: () => place("keys").close() }, "Close"));
