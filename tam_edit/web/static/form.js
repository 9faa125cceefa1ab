// The work form: what the command line's options say, as fields; the calm part on top, the rest under "More options".

import { button, fill, h } from "/static/panels.js";

const place = (id) => document.getElementById(id);
const FORMATS = { matte: "matte video", prores4444: "ProRes 4444", "webm-alpha": "WebM with alpha", png: "PNG with alpha", exr: "OpenEXR", davis: "DAVIS masks", coco: "COCO", yolo: "YOLO", cvat: "CVAT", mot: "MOT boxes", otio: "OpenTimelineIO" };
const ENGINES = { segmenter: ["auto", "classic", "sam"], tracker: ["auto", "classic", "xmem"], inpainter: ["auto", "classic", "e2fgvi", "e2fgvi-hq"] };
const CHOICES = { ...ENGINES, refine: ["auto", "never", "always"], matte: ["auto", "contour", "hard"], shadow: ["none", "auto"] };
const PIXELS = ["dilate_px", "erode_px", "feather_px"], SWITCHES = ["smooth", "mend"];
const fields = {};
let app;

const list = (names) => Object.fromEntries(names.map((name) => [name, name]));
function select(name, options, values = {}) {
  fields[name] = h("select", { name, ...values }, Object.entries(options).map(([value, words]) => h("option", { value }, words)));
  return fields[name];
}
const number = (name, values) => (fields[name] = h("input", { type: "number", name, placeholder: "auto", ...values }));
const check = (name, values = {}) => (fields[name] = h("input", { type: "checkbox", name, ...values }));
const row = (...inside) => h("div", { class: "row" }, ...inside);
const label = (words, field) => h("label", {}, words, field);
const group = (words, ...inside) => h("fieldset", {}, h("legend", { class: "words" }, words), ...inside);

export function start(given) {
  app = given;
  place("run").append(
    h("div", { class: "row", id: "verbs" },
      button("Track", () => app.begin({ kind: "track", frames: frames() }), { class: "primary", title: "Carry the masks through the clip; after a correction only its span runs again" }),
      button("Refine", () => app.begin({ kind: "refine" }), { class: "", title: "Track, and ask the segmenter about doubtful masks; the project keeps doing so" }),
      button("Remove", () => app.begin({ ...removal(), ...output() }), { class: "" }),
      button("Replace", () => app.begin({ ...replacement(), ...output() }), { class: "" }),
      button("Alter", () => app.begin({ ...alteration(), ...output() }), { class: "" })),
    row(label("Behind", select("behind", { colour: "a colour", blur: "the clip, blurred", transparent: "nothing (transparent)" }, { onchange: shown })),
      (fields.colour = h("input", { type: "color", value: "#2f6f4f", "aria-label": "Background colour" })),
      (fields.sigma = h("input", { type: "number", min: 1, max: 200, placeholder: "sigma", "aria-label": "Blur sigma in pixels" }))),
    row(label("Alter", select("how", { recolour: "another colour", blur: "blurred", pixelate: "in squares" }, { onchange: shown })),
      (fields.recolour = h("input", { type: "color", value: "#c02020", "aria-label": "Colour of the object" })),
      (fields.softness = h("input", { type: "number", min: 0.5, max: 1000, step: 0.5, placeholder: "auto", "aria-label": "Blur of the object, sigma in pixels" })),
      (fields.blocks = h("input", { type: "number", min: 1, max: 64, value: 8, "aria-label": "Squares across the object" }))),
    row(h("label", { class: "button small", for: "file" }, "Send a picture or video"),
      h("input", { type: "file", id: "file", class: "unseen", accept: "image/*,video/*", onchange: (event) => event.target.files[0] && app.sendBackground(event.target.files[0]) })),
    row(label("Export", select("format", FORMATS)), button("Export", () => app.begin({ kind: "export", format: fields.format.value, objects: objects() }))),
    options(), effects());
  place("run").addEventListener("submit", (event) => event.preventDefault());
  shown();
}

function options() {
  const pick = (name, words) => label(words, select(name, list(CHOICES[name]), { onchange: settings }));
  return h("details", {}, h("summary", {}, "More options"),
    h("fieldset", { id: "which" }, h("legend", { class: "words" }, "Objects meant")),
    row(label("Track frames", (fields.frames = h("input", { name: "frames", placeholder: "all, or 0:200", size: 12 }))), h("label", {}, check("invert"), "swap what is kept and removed")),
    group("Edges", row(label("Grow, px", number("dilate_px", { min: 0, max: 500, onchange: settings })), label("Shrink, px", number("erode_px", { min: 0, max: 500, onchange: settings })), label("Feather, px", number("feather_px", { min: 0, max: 500, step: 0.5, onchange: settings }))),
      row(pick("matte", "Edge from"), pick("shadow", "Shadow goes along"), h("label", {}, check("smooth", { onchange: settings }), "still in time"), h("label", {}, check("mend", { onchange: settings }), "fill small holes"))),
    group("Background", row(label("Fit", select("fit", list(["fill", "fit", "stretch", "tile"]))), label("Scale", number("scale", { min: 0.01, max: 100, step: "any", placeholder: "1" })), label("Right, px", number("right", { step: "any", placeholder: "0" })), label("Down, px", number("down", { step: "any", placeholder: "0" }))),
      row(label("From, s", number("start_s", { min: 0, step: "any", placeholder: "0" })), label("to, s", number("stop_s", { min: 0, step: "any", placeholder: "end" })), label("Speed", number("speed", { min: 0.01, max: 100, step: "any", placeholder: "1" })), label("At its end", select("at_end", { loop: "begin again", hold: "stay" }))),
      row(label("Match colour", select("match_colour", { none: "no", background: "of the background", foreground: "of the objects" })), label("Grain", select("grain", { 0: "none", auto: "as the clip's", levels: "levels" }, { onchange: shown })),
        (fields.levels = h("input", { type: "number", min: 0, max: 64, step: "any", value: 4, "aria-label": "Grain in levels" })), label("Follow", select("follow", { none: "nothing", camera: "the camera" })))),
    group("File", row(label("Container", select("container", { ".mp4": "MP4", ".mov": "MOV", ".mkv": "MKV", ".webm": "WebM", pictures: "PNG pictures" })), label("Codec", select("codec", list(["auto", "h264", "hevc", "vp9", "av1", "prores", "ffv1"]))), label("CRF", number("crf", { min: 0, max: 63 })), h("label", {}, check("lossless"), "lossless"))),
    group("Engines", row(pick("segmenter", "Segmenter"), pick("tracker", "Tracker")), row(pick("inpainter", "Inpainter"), pick("refine", "Refine doubtful masks"))));
}

// Several effects in one pass: kept in edit.json, as the command line's render makes them.
function effects() {
  return h("details", {}, h("summary", {}, "Several effects in one pass"), h("div", { id: "effects" }),
    row(button("Add removal", () => app.change("/api/effects/add", removal())), button("Add background", () => app.change("/api/effects/add", replacement())), button("Add alteration", () => app.change("/api/effects/add", alteration()))),
    row(button("Render", () => app.begin({ kind: "render", ...output() }), { class: "primary", id: "render", title: "Write the clip under all effects of the list" })));
}

function effectsPanel() {
  const words = ({ do: does, objects: about, invert, ...how }) => [does, about ? about.join(", ") : "all objects", invert && "swapped", ...Object.entries(how).map(([name, value]) => `${name.replace("_px", "").replace("_s", "").replace("_", " ")} ${value}`)].filter(Boolean).join(", ");
  if (!app.state.effects.length) return [h("p", { class: "words" }, "Set up Remove, Replace or Alter above, add it here, and Render makes all of them in order.")];
  return [h("ol", {}, app.state.effects.map((effect, index) => h("li", { class: "row" }, h("span", { class: "words grow" }, `${index + 1}. ${words(effect)}`),
    button("✕", () => app.change("/api/effects/drop", { index }), { "aria-label": `Take effect ${index + 1} out of the list` }))))];
}

// What the fields say

function shown() {
  fields.colour.hidden = fields.behind.value !== "colour";
  fields.sigma.hidden = fields.behind.value !== "blur";
  fields.recolour.hidden = fields.how.value !== "recolour";
  fields.softness.hidden = fields.how.value !== "blur";
  fields.blocks.hidden = fields.how.value !== "pixelate";
  fields.levels.hidden = fields.grain.value !== "levels";
}
const numeric = (name) => (fields[name].value === "" ? null : Number(fields[name].value));
const frames = () => fields.frames.value.trim() || null;

function background() {
  const kind = fields.behind.value;
  if (kind === "colour") return fields.colour.value;
  if (kind === "blur") return fields.sigma.value ? `blur:${fields.sigma.value}` : "blur";
  return kind;
}

function look() {
  const grain = fields.grain.value === "levels" ? numeric("levels") : fields.grain.value === "auto" ? "auto" : null;
  const found = { scale: numeric("scale"), start_s: numeric("start_s"), stop_s: numeric("stop_s"), speed: numeric("speed"), grain };
  if (numeric("right") || numeric("down")) found.offset_px = [numeric("right") || 0, numeric("down") || 0];
  for (const name of ["fit", "at_end", "match_colour", "follow"]) if (fields[name].selectedIndex) found[name] = fields[name].value;
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== null));
}

function objects() {
  const boxes = [...place("which").querySelectorAll("input")];
  return boxes.every((one) => one.checked) ? null : boxes.filter((one) => one.checked).map((one) => one.value);
}
const meant = () => ({ objects: objects(), invert: fields.invert.checked });
const output = () => ({ lossless: fields.lossless.checked, codec: fields.codec.value, container: fields.container.value, crf: numeric("crf") });
const removal = () => ({ kind: "remove", ...meant() });
const replacement = () => ({ kind: "replace", background: background(), look: look(), ...meant() });
function alteration() {
  const kind = fields.how.value;
  const how = kind === "recolour" ? { recolour: fields.recolour.value } : kind === "blur" ? { blur: numeric("softness") || "auto" } : kind === "pixelate" ? { pixelate: numeric("blocks") || 8 } : { picture: kind };
  return { kind: "alter", how, ...meant() };
}

// One setting at a time: an answer to a former change may just have put other fields back.
function settings({ target: { name, checked, value } }) {
  return app.change("/api/settings", { [name]: SWITCHES.includes(name) ? checked : PIXELS.includes(name) ? numeric(name) : value });
}

function offer(field, value, words) {
  if (![...field.options].some((one) => one.value === value)) field.append(h("option", { value }, words));
}

export function useBackground(name) { fields.behind.value = `file:${name}`; shown(); }

export function draw() {
  const { objects: found, backgrounds, projects, job, settings: now, effects: listed } = app.state;
  const busy = ["running", "stopping"].includes(job && job.status), marked = found.some((item) => item.prompts.length);
  for (const one of place("run").querySelectorAll("button")) one.disabled = busy || !marked;
  if (!listed || !listed.length) place("render").disabled = true;
  fill("effects", listed || [], effectsPanel);
  fill("which", found.map((item) => item.name), () => [h("legend", { class: "words" }, "Objects meant"), ...found.map((item) => h("label", {}, h("input", { type: "checkbox", checked: true, value: item.name }), item.name))]);
  for (const name of backgrounds || []) {
    offer(fields.behind, `file:${name}`, name);
    if (/\.(png|jpe?g|tiff?|webp|bmp)$/.test(name)) offer(fields.how, `file:${name}`, name);
  }
  for (const name of projects || []) offer(fields.behind, `project:${name}`, `result of ${name}`);
  if (!now) return;
  for (const name of [...PIXELS, ...Object.keys(CHOICES)]) if (document.activeElement !== fields[name]) fields[name].value = now[name] === null ? "" : now[name];
  for (const name of SWITCHES) fields[name].checked = now[name];
}
