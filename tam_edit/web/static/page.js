// The page: what it knows, how it asks the server, and the keys; the pictures and panels are in their own modules.

import { get, post, send } from "/static/api.js";
import { maps, paint } from "/static/media.js";
import * as form from "/static/form.js";
import * as hand from "/static/hand.js";
import * as keys from "/static/keys.js";
import * as panels from "/static/panels.js";
import { play, start as startPlaying, toggle } from "/static/play.js";
import * as stage from "/static/stage.js";
import * as timeline from "/static/timeline.js";

const place = (id) => document.getElementById(id);
const START_AT_ONCE = 60; // frames of work below which a run begins without asking

const app = {
  state: null, track: null, times: [0, 1], frame: 0, object: "", drafts: [], tool: "include",
  overlay: "tint", compare: "", result: "", playing: 0, lastShown: -1, candidates: [], saying: null, pending: null,

  label() { const found = app.state.objects.find((item) => item.name === app.object); return found ? found.label : 0; },
  prompt() { const found = app.state.objects.find((item) => item.name === app.object); return found && found.prompts.find((one) => one.frame === app.frame); },
  brush: () => Number(place("brush").value),
  stripUrl(frame) { const { digest, strip_every: every } = app.state.project; return `/strip/${digest}/${frame - frame % every}.jpg`; },

  hint() {
    if (app.compare && !app.result) return "Make a result first: Remove or Replace.";
    if (app.overlay === "result" && !app.result) return "There is no result yet: Remove or Replace makes one.";
    if (!app.state.objects.length && !app.playing) return "Click on what should be removed or kept. Right click: what does not belong to it.";
    if (app.track && app.track.states[app.frame] === "1") return "Out of date here: Track runs this span again.";
    return "";
  },

  say(words, bad = false) {
    if ([...place("toasts").children].some((one) => one.textContent === words)) return; // said already
    const toast = panels.h("div", { class: bad ? "toast bad" : "toast", role: bad ? "alert" : "note" }, words);
    place("toasts").append(toast);
    setTimeout(() => toast.remove(), bad ? 9000 : 4000);
  },

  // Moving

  go(frame) {
    const next = Math.min(Math.max(Math.round(frame) || 0, 0), app.state.project.frames - 1);
    if (next !== app.frame) { app.candidates = []; hand.letGo(); }
    app.frame = next;
    place("number").value = next;
    timeline.follow(next);
    show();
    clearTimeout(app.resting);
    if (!app.playing) app.resting = setTimeout(() => {
      for (const near of [1, -1, 2]) if (next + near >= 0 && next + near < app.state.project.frames) stage.prefetch(next + near);
      post("/api/rest", { frame: next }).catch(() => {});
    }, 250);
  },

  // Objects

  choose(name) { app.object = name; app.candidates = []; show(); },
  newObject() {
    app.draft();
    if (["exclude", "eraser", "pan"].includes(app.tool)) tool("include");
  },
  // An object of which nothing is said yet; the label that it will have.
  draft() {
    const names = new Set([...app.state.objects.map((item) => item.name), ...app.drafts]);
    let number = names.size + 1;
    while (names.has(`object ${number}`)) number++;
    app.drafts = [`object ${number}`];
    app.choose(app.drafts[0]);
  },
  // The label of the object that is painted, a new one's too.
  paintedLabel() {
    if (!app.object) app.draft();
    return app.label() || app.state.objects.length + 1;
  },
  async rename(name) {
    const to = window.prompt("The object's name", name);
    if (!to || to === name) return;
    await settled(); // what is being said of it just now makes an object of a draft
    if (app.drafts.includes(name)) { app.drafts = [to]; app.choose(to); return; }
    await change("/api/rename", { object: name, to });
    app.choose(to);
  },
  forget(name) { return change("/api/forget", { object: name }); },

  // Saying where things are

  point([x, y], negative) {
    const list = negative ? "negative" : "points", now = clicks();
    return app.tell({ ...now, [list]: [...now[list], [x, y]] });
  },
  scribble(line, negative) {
    const list = negative ? "negative_scribbles" : "scribbles", now = clicks();
    return app.tell({ ...now, [list]: [...now[list], line] });
  },
  drop(list, index) {
    const left = clicks();
    left[list] = left[list].filter((_, at) => at !== index);
    const beside = left.negative.length + left.negative_scribbles.length;
    if (!left.points.length && !left.scribbles.length && !left.box && !(beside && app.prompt().correction)) return app.unmark(app.object, app.frame);
    return app.tell(left);
  },
  box: (sides) => app.tell({ ...clicks(), box: sides }),
  mask: (runs) => app.tell({ mask: runs }),
  // The mask here redrawn along the picture's edges; once more: as it was painted or taken in.
  polish() {
    if (!app.label()) return app.say("Mark the object first: Polish redraws its mask along edges.", true);
    const now = app.prompt();
    return app.tell({ polish: !(now && now.kind === "mask" && now.polish) });
  },
  pick() {
    const now = app.prompt();
    if (!now || now.kind !== "clicks") return app.say("Click first; then other readings of the clicks can be picked.");
    const count = app.moreCandidates ? 3 : app.candidates.length || 3;
    return app.tell({ ...clicks(), candidate: (now.candidate + 1) % count });
  },
  absent() {
    const now = app.prompt();
    if (now && now.kind === "absent") return app.unmark(app.object, app.frame);
    if (!app.label()) return app.say("Mark the object on a frame where it is there first.", true);
    return app.tell({ absent: true });
  },
  async tell(said) {
    if (!app.object) app.draft();
    const mine = { object: app.object, frame: app.frame, said }, former = app.saying, began = performance.now();
    app.pending = mine;
    applyPending();
    show();
    // One after the other; what a newer one on the same frame says includes this one, so that one alone is sent.
    app.saying = (async () => {
      if (former) await former;
      const newer = app.pending;
      if (newer !== mine && newer.object === mine.object && newer.frame === mine.frame && isClicks(said) && isClicks(newer.said)) return;
      try { await sendSaying(mine); } catch (error) {
        app.say(error.message, true);
        if (app.pending === mine) { app.pending = null; took(await get("/api/state")); }
      }
      document.body.dataset.clickMs = Math.round(performance.now() - began);
    })();
    const saying = app.saying;
    await saying.catch((error) => app.say(error.message, true));
    if (app.saying === saying) app.saying = app.pending = null;
    show();
  },
  unmark: (name, frame) => change("/api/unmark", { object: name, frame }),
  moveKeyframe: (name, frame, to, copy) => change("/api/copy", { object: name, frame, to, move: !copy }),
  change: (path, values) => change(path, values),
  colourOf: (name) => { const found = app.state.objects.find((one) => one.name === name); return found && found.colour; },

  // Work

  async begin(work) {
    const clean = Object.fromEntries(Object.entries(work).filter(([, value]) => value !== null && value !== undefined));
    const go = async () => { panels.showPlan(null); if (await change("/api/run", clean)) app.say(`${clean.kind[0].toUpperCase()}${clean.kind.slice(1)} has begun`); };
    await settled();
    try {
      const report = await post("/api/plan", clean);
      const count = report ? report.stages.reduce((sum, one) => sum + one.frames_run + one.frames_unknown, 0) : 0;
      if (count <= START_AT_ONCE) return await go();
      panels.showPlan(panels.planWords(report, app.state.project.frames), go);
    } catch (error) { app.say(error.message, true); }
  },
  cancel: () => change("/api/cancel"),
  async sendBackground(file) {
    try {
      const { name } = await send("/api/upload/background", file, (share) => { place("plan").textContent = `sending ${file.name}: ${Math.round(share * 100)} %`; });
      panels.showPlan(null);
      await refresh();
      form.useBackground(name);
    } catch (error) { app.say(error.message, true); }
  },

  // Mending and comparing

  correct(doubt) { app.choose(doubt.object); app.go(doubt.frame); tool("include"); place("stage").focus(); },
  judge: (doubt, verdict) => change("/api/judge", { object: doubt.object, frame: doubt.frame, verdict }),
  compareWith(name) {
    const off = app.result === name && app.compare;
    app.result = name;
    compare(off ? "" : "split");
  },
  // A map that cannot be read: what is known is asked for again, but not at once, or a lost one would be asked for for ever.
  reloadTrack() { if (!app.reloading) app.reloading = setTimeout(() => { app.reloading = 0; loadTrack().then(show, () => {}); }, 2000); },
};

const isClicks = (said) => Boolean(said.points);
// What clicks say on this frame now, to be said again with one more or one less.
function clicks() {
  const now = app.prompt(), found = now && now.kind === "clicks" ? now : {};
  return { points: found.points || [], negative: found.negative || [], scribbles: found.scribbles || [], negative_scribbles: found.negative_scribbles || [], box: found.box || null };
}

// What was said a moment ago is shown before the server has answered, and over its answers to what came before.
function applyPending() {
  if (!app.pending || !(isClicks(app.pending.said) || app.pending.said.absent)) return;
  const { object, frame, said } = app.pending;
  let item = app.state.objects.find((one) => one.name === object);
  if (!item) app.state.objects.push(item = { name: object, label: app.state.objects.length + 1, prompts: [] });
  const former = item.prompts.find((one) => one.frame === frame);
  const prompt = { points: [], negative: [], scribbles: [], negative_scribbles: [], box: null, candidate: 0, correction: Boolean(former && former.correction), ...said, frame, kind: said.absent ? "absent" : "clicks" };
  item.prompts = [...item.prompts.filter((one) => one !== former), prompt].sort((a, b) => a.frame - b.frame);
  app.drafts = app.drafts.filter((name) => name !== object);
}

async function sendSaying({ object, frame, said }) {
  const answer = await post("/api/say", { object, frame, ...said });
  app.drafts = app.drafts.filter((name) => name !== object);
  app.candidates = answer.candidates;
  app.moreCandidates = answer.more;
  took(answer.state);
  if (!app.track) await loadTrack();
  else { app.track.maps[frame] = answer.map; app.track.states = app.track.states.slice(0, frame) + "3" + app.track.states.slice(frame + 1); }
  const url = stage.mapUrl(frame);
  if (url) await maps.load(url).catch(() => {});
  stage.draw();
  if (said.candidate !== undefined && app.candidates.length) app.say(`Candidate ${said.candidate + 1} of ${app.candidates.length}: ${app.candidates[said.candidate].name}`);
}

// State from the server

// Clicks that are on their way come first: a run or an undo must not overtake them.
// Each turn lets the browser breathe: a loop of awaits alone would never give its thread back.
async function settled() { while (app.saying) { await app.saying.catch(() => {}); await new Promise((resume) => setTimeout(resume)); } }

async function change(path, values) {
  await settled();
  try { took(await post(path, values)); show(); return true; } catch (error) { app.say(error.message, true); show(); return false; }
}

// Answers can overtake each other: one that left the server before what is shown already tells nothing new.
function isOlder(state) {
  if (!app.state) return false;
  const [[boot, count], [mine, shown]] = [state, app.state].map((one) => one.revision.split("-"));
  return boot === mine && Number(count) < Number(shown);
}

function took(state) {
  if (!state || isOlder(state)) return;
  const first = !app.state || !app.state.project;
  const before = app.state;
  app.state = state;
  if (state.project) applyPending();
  place("lost").hidden = true;
  place("problem").hidden = !state.problem;
  place("problem").textContent = state.problem || "";
  place("empty").hidden = Boolean(state.project);
  place("work").hidden = !state.project;
  place("opening").textContent = state.opening ? `${state.opening}…` : "";
  place("choose").hidden = Boolean(state.opening);
  if (!state.project) return;
  if (first) begun();
  const names = state.objects.map((item) => item.name);
  if (!names.includes(app.object) && !app.drafts.includes(app.object)) app.object = names[0] || "";
  if (!names.length && !app.drafts.length) app.drafts = [], app.object = "";
  if (paint(state.objects.map((item) => [item.label, item.colour]))) stage.repaint();
  const viewable = state.results.filter((one) => one.viewable).map((one) => one.name);
  const job = state.job, old = before && before.job;
  if (job && job.status === "done" && old && old.number === job.number && old.status !== "done" && viewable.includes(job.output)) app.result = job.output;
  if (job && old && old.number === job.number && ["running", "stopping"].includes(old.status) && ["done", "stopped"].includes(job.status)) {
    app.say(`${job.title}: ${job.status}${job.output ? `, ${job.output} is there` : ""}`); // heard too by who cannot see the panel
  }
  if (!viewable.includes(app.result)) app.result = viewable.at(-1) || "";
  place("result").replaceChildren(...viewable.map((name) => panels.h("option", { value: name }, name)));
  place("result").value = app.result;
  place("with").hidden = !viewable.length;
}

async function loadTrack() {
  const track = await get("/api/track");
  app.track = track;
}

async function begun() {
  const { project } = app.state;
  document.title = `${project.name} – tam-edit`;
  place("title").textContent = `${project.clip}, ${project.frames.toLocaleString("en")} frames, ${project.size.join("×")}`;
  place("number").max = project.frames - 1;
  place("of").textContent = `of ${project.frames - 1}`;
  for (const words of project.warnings) app.say(words);
  timeline.reset();
  stage.fit();
  app.times = await get("/api/times");
  app.go(app.frame);
}

async function refresh() {
  const state = await get(`/api/state?since=${app.state ? app.state.revision : ""}`);
  if (state) took(state);
  let loaded = false;
  if (app.state.project && !app.saying && (!app.track || app.track.key !== app.state.track || app.loaded !== app.state.revision)) {
    // Areas come in after the masks, under the same key: a change of revision looks again, but not while a run goes on.
    const going = app.state.job && app.state.job.status === "running";
    if (!app.track || app.track.key !== app.state.track || !going) { await loadTrack(); app.loaded = app.state.revision; loaded = true; }
  }
  if (state || loaded) show();
}

async function follow() {
  let wait = 1000;
  try {
    await refresh();
    const busy = app.state.opening || (app.state.job && ["running", "stopping"].includes(app.state.job.status)) || !app.state.project;
    wait = document.hidden ? 2000 : busy ? 300 : 1000;
    if (!place("lost").hidden) { place("lost").hidden = true; show(); } // what could not be loaded meanwhile
  } catch (error) {
    place("lost").hidden = false;
    if (error.status) place("lost").textContent = error.message;
  }
  setTimeout(follow, wait);
}

function show() {
  if (!app.state || !app.state.project) return;
  stage.draw();
  timeline.draw();
  const now = app.prompt();
  place("polish").setAttribute("aria-pressed", String(Boolean(now && now.kind === "mask" && now.polish)));
  panels.draw();
  form.draw();
  document.body.dataset.frame = app.frame;
}

// Tools

function tool(name) {
  app.tool = name;
  for (const one of document.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", String(one.dataset.tool === name));
  place("stage").classList.toggle("pan", name === "pan");
  stage.draw();
}

function compare(mode) { app.compare = mode; place("compare").value = mode; place("result").value = app.result; show(); }
function overlayAs(mode) { app.overlay = mode; place("overlay").value = mode; show(); }

function nextDoubt(step) {
  const open = app.state.review.filter((one) => one.verdict === "open");
  if (!open.length) return app.say(app.state.complete ? "No doubtful frame is left." : "Track first: doubtful frames are known then.");
  const at = open.findIndex((one) => one.frame === app.frame && one.object === app.object);
  app.correct(open[(at < 0 && step < 0 ? open.length - 1 : at + step + open.length) % open.length]);
}

function nextKeyframe(step) {
  const frames = [...new Set(app.state.objects.flatMap((item) => item.prompts.map((one) => one.frame)))].sort((a, b) => a - b);
  const found = step > 0 ? frames.find((one) => one > app.frame) : frames.findLast((one) => one < app.frame);
  if (found === undefined) app.say(frames.length ? "No keyframe further on." : "No keyframe yet: mark an object."); else app.go(found);
}

const on = (id, what, event = "click") => place(id).addEventListener(event, what);
on("undo", () => change("/api/undo")); on("redo", () => change("/api/redo"));
on("help", () => place("keys").showModal());
on("theme", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
on("first", () => app.go(0)); on("back", () => app.go(app.frame - 1)); on("next", () => app.go(app.frame + 1)); on("last", () => app.go(app.state.project.frames - 1));
on("play", toggle); on("speed", () => app.playing && play(Number(place("speed").value)), "change");
on("doubt", () => nextDoubt(1)); on("keyframe", () => nextKeyframe(1));
on("number", () => app.go(Number(place("number").value)), "change");
on("overlay", () => overlayAs(place("overlay").value), "change"); on("compare", () => compare(place("compare").value), "change");
on("result", () => { app.result = place("result").value; show(); }, "change");
on("fit", stage.fit); on("one", stage.oneToOne); on("in", () => stage.zoom(1.25)); on("out", () => stage.zoom(0.8));
on("candidate", () => app.pick()); on("polish", () => app.polish()); on("absent", () => app.absent());
for (const one of document.querySelectorAll("[data-tool]")) one.addEventListener("click", () => tool(one.dataset.tool));

function theme(name) {
  document.documentElement.dataset.theme = name;
  place("theme").textContent = name === "dark" ? "Light" : "Dark";
  place("theme").setAttribute("aria-pressed", String(name === "light"));
  try { localStorage.setItem("theme", name); } catch { /* private windows keep nothing: the choice holds for this one */ }
  show();
}

// A new project from a file

async function sent(file) {
  if (!file) return;
  place("sending").hidden = false;
  try {
    took(await send("/api/upload/clip", file, (share) => { place("sending").value = share; }));
    show();
  } catch (error) { app.say(error.message, true); }
  place("sending").hidden = true;
}
on("clip", () => sent(place("clip").files[0]), "change");
for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => {
  event.preventDefault();
  place("drop").classList.toggle("over", name === "dragover");
  if (name !== "drop" || !event.dataTransfer.files.length) return;
  if (app.state && app.state.project) app.sendBackground(event.dataTransfer.files[0]); else sent(event.dataTransfer.files[0]);
});

try { theme(localStorage.getItem("theme") || "dark"); } catch { theme("dark"); }
stage.start(app); hand.start(app); timeline.start(app); panels.start(app); form.start(app); startPlaying(app);
keys.start(app, { tool, compare, overlayAs, nextDoubt, nextKeyframe });
follow();
