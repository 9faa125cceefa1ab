// The panels beside the picture: objects with their keyframes, work and its progress, the review queue, results.

import { css, usual } from "/static/media.js";

const place = (id) => document.getElementById(id);
let app;
const drawn = {};

// h("button", {class: "small", onclick: f}, "words"): text is always set as text.
export function h(name, values = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(element.style, value);
    else if (key in element && typeof value !== "string") element[key] = value;
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...inside.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}
export const button = (words, onclick, values = {}) => h("button", { type: "button", class: "small", onclick, ...values }, words);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// A panel is made anew only when what it shows changed, so that the keyboard's place in it is kept.
export function fill(id, shows, make) {
  const key = JSON.stringify(shows);
  if (drawn[id] === key) return;
  drawn[id] = key;
  const focused = document.activeElement, inside = place(id).contains(focused);
  const name = inside && (focused.getAttribute("aria-label") || focused.textContent);
  place(id).replaceChildren(...make().flat().filter(Boolean));
  if (inside) {
    const again = [...place(id).querySelectorAll("button, input, a")].find((one) => (one.getAttribute("aria-label") || one.textContent) === name);
    if (again) again.focus({ preventScroll: true });
  }
}

export function start(given) { app = given; }

export function draw() {
  if (!app.state || !app.state.project) return;
  const { objects, job, review, results } = app.state;
  fill("objects", [objects, app.object, app.drafts, app.frame], objectsPanel);
  fill("job", job, jobPanel);
  fill("review", [review, app.state.complete, objects.length], reviewPanel);
  fill("results", [results, app.result, app.compare], resultsPanel);
}

// Objects

function objectsPanel() {
  const items = app.state.objects.map((item) => objectItem(item.name, item.label, item.prompts));
  let label = app.state.objects.length;
  for (const name of app.drafts) items.push(objectItem(name, ++label, []));
  return [h("ul", {}, items), button("+ New object", () => app.newObject(), { "aria-label": "New object" })];
}

function objectItem(name, label, prompts) {
  const chosen = name === app.object;
  const head = h("div", { class: "row" },
    chosen && prompts.length > 0
      ? h("input", { type: "color", class: "swatch", value: app.colourOf(name) || usual(label), "aria-label": `Colour of ${name}`, title: "Its colour on the page", onchange: (event) => app.change("/api/colour", { object: name, colour: event.target.value }) })
      : h("span", { class: "swatch", style: { background: css(label) } }),
    h("button", { type: "button", class: "name", "aria-pressed": String(chosen), onclick: () => app.choose(name) }, name),
    chosen && button("Rename", () => app.rename(name)),
    chosen && prompts.length > 0 && button("Remove", () => app.forget(name), { "aria-label": `Remove ${name} from the project` }));
  if (!chosen) return h("li", { class: "item" }, head);
  if (!prompts.length) return h("li", { class: "item" }, head, h("p", { class: "words" }, "Click on it in the picture, or draw a box around it."));
  const keyframes = prompts.map((prompt) => h("li", { class: "row" },
    button(`Frame ${prompt.frame}`, () => app.go(prompt.frame), { "aria-current": String(prompt.frame === app.frame) }),
    h("span", { class: "words grow" }, said(prompt)),
    prompt.frame !== app.frame && button("Copy", () => app.moveKeyframe(name, prompt.frame, app.frame, true), { "aria-label": `Copy keyframe ${prompt.frame} here`, title: "Copy to the frame on screen" }),
    prompt.frame !== app.frame && button("Move", () => app.moveKeyframe(name, prompt.frame, app.frame, false), { "aria-label": `Move keyframe ${prompt.frame} here`, title: "Move to the frame on screen" }),
    button("✕", () => app.unmark(name, prompt.frame), { "aria-label": `Delete keyframe ${prompt.frame}`, title: "Delete (Del)" })));
  return h("li", { class: "item" }, head, h("ul", {}, keyframes));
}

function said(prompt) {
  if (prompt.kind === "absent") return "absent from here";
  if (prompt.kind === "mask") return prompt.polish ? "painted, polished" : "painted";
  const clicks = prompt.points.length + prompt.negative.length, lines = prompt.scribbles.length + prompt.negative_scribbles.length;
  return [clicks && plural(clicks, "click"), prompt.box && "box", lines && plural(lines, "scribble"), prompt.correction && "correction"].filter(Boolean).join(", ");
}

// Work

const STAGES = { probe: "reading", segment: "clicks", embed: "looking", soften: "softening", propagate: "tracking", refine: "refining", matte: "edges", inpaint: "filling", encode: "writing" };

function jobPanel() {
  const job = app.state.job;
  if (!job) return [h("p", { class: "words" }, "Track carries your masks through the clip. Remove and Replace do what is missing by themselves.")];
  const going = ["running", "stopping"].includes(job.status);
  const words = { running: "at work", stopping: "stopping after this piece…", done: "done", stopped: "stopped", failed: "failed" }[job.status];
  const head = h("div", { class: "row" }, h("strong", {}, `${job.title}: `), h("span", { class: job.status === "failed" ? "bad" : job.status === "done" ? "good" : "", id: "status" }, words), h("span", { class: "words" }, time(job.seconds)),
    going && button("Stop", () => app.cancel(), { "aria-label": "Stop the run; what is finished is kept" }));
  const bars = going ? job.stages.filter((one) => one.name !== "probe").map((one) => h("div", {},
    h("div", { class: "words" }, `${STAGES[one.name] || one.name}: ${one.done} of ${plural(one.frames, "frame")}${job.at && job.at[0] === one.name && job.left_s !== null ? `, about ${time(job.left_s)} left` : ""}`),
    h("progress", { max: one.frames, value: one.done, "aria-label": one.name }))) : [];
  const told = job.words ? [h("p", { class: job.status === "failed" ? "bad" : "words", role: job.status === "failed" ? "alert" : "note" }, job.words)] : [];
  return [head, ...bars, ...told, !going && job.report && h("p", { class: "words", id: "reused" }, summary(job.report)), !going && job.output && h("p", {}, h("a", { href: `/download/${job.output}`, download: "" }, `Download ${job.output}`))];
}

export const time = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

export function summary(report) {
  const asked = report.refined || [], better = asked.filter((one) => one.accepted).length;
  const refined = asked.length ? `Refined ${better} of ${plural(asked.length, "doubtful mask")}. ` : report.command === "track" && report.stages.some((one) => one.name === "refine") ? "No mask was doubtful enough to refine. " : "";
  return refined + report.stages.filter((one) => one.name !== "probe").map((one) => `${STAGES[one.name] || one.name}: ${plural(one.frames_run, "frame")} run, ${one.frames_reused.toLocaleString("en")} reused`).join("; ") + (report.warnings.length ? `. Note: ${report.warnings.join("; ")}` : "");
}

// "142 of 1,394 frames will run, because ..."
export function planWords(report, frames) {
  return report.stages.filter((one) => one.name !== "probe" && one.name !== "segment").map((one) => {
    const run = one.frames_run + one.frames_unknown;
    const why = one.reasons.filter((reason) => !reason.includes("nothing it reads has changed")).slice(0, 2).join("; ");
    return `${STAGES[one.name] || one.name}: ${run.toLocaleString("en")} of ${plural(Math.max(frames, run), "frame")} will run${run ? `, because ${why}` : ""}`;
  });
}

export function showPlan(lines, go) {
  place("plan").replaceChildren(...(lines ? [h("ul", {}, lines.map((line) => h("li", { class: "words" }, line))),
    go && h("div", { class: "row" }, button("Start", go, { class: "primary" }), button("Not now", () => showPlan(null)))].filter(Boolean) : []));
  if (lines && go) place("plan").querySelector("button").focus();
}

// Review

function reviewPanel() {
  const { review, complete, objects: found } = app.state;
  const open = review.filter((one) => one.verdict === "open");
  if (!review.length) return [h("p", { class: "words" }, complete ? "Nothing doubtful: every mask looks like what was marked." : found.length ? "After tracking, doubtful frames are listed here, worst first." : "Mark an object and track it: doubtful frames come here.")];
  const items = [...open, ...review.filter((one) => one.verdict !== "open")].slice(0, 60).map((doubt) => h("li", { class: "item doubt" },
    h("img", { src: app.stripUrl(doubt.frame), alt: "", loading: "lazy" }),
    h("div", {}, h("div", {}, `Frame ${doubt.frame}, ${doubt.object} `, h("span", { class: doubt.verdict === "open" ? "bad" : "words" }, doubt.verdict === "open" ? `trust ${doubt.trust.toFixed(2)}` : doubt.verdict)),
      h("p", { class: "words" }, doubt.why),
      h("div", { class: "row" },
        button("Correct", () => app.correct(doubt), { "aria-label": `Correct ${doubt.object} on frame ${doubt.frame}` }),
        doubt.verdict === "open" ? button("Accept", () => app.judge(doubt, "accepted"), { "aria-label": `Accept frame ${doubt.frame}` }) : button("Reopen", () => app.judge(doubt, "open")),
        doubt.verdict === "open" && button("Skip", () => app.judge(doubt, "skipped"), { "aria-label": `Skip frame ${doubt.frame}` })))));
  return [h("p", { class: "words" }, `${plural(open.length, "frame")} to look at`), h("ul", {}, items)];
}

// Results

function resultsPanel() {
  const { results } = app.state;
  if (!results.length) return [h("p", { class: "words" }, "Removed and replaced videos and exports come here, to compare and to download.")];
  return [h("ul", {}, [...results].reverse().map((one) => h("li", { class: "item row" },
    h("a", { class: "name", href: `/download/${one.name}`, download: "" }, one.name), h("span", { class: "words" }, `${(one.bytes / 1e6).toFixed(1)} MB`),
    one.viewable && button("Compare", () => app.compareWith(one.name), { "aria-pressed": String(app.result === one.name && app.compare !== ""), "aria-label": `Compare ${one.name} with the source` }))))];
}
