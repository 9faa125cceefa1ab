// Pictures and label maps by their address, kept for a while; what is asked for twice is loaded once.

// Okabe and Ito (2008), as pipelines/pictures.py draws them.
export const COLOURS = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];
const chosen = new Map();
export const colour = (label) => chosen.get(label) || COLOURS[(label - 1) % COLOURS.length];
export const usual = (label) => `#${COLOURS[(label - 1) % COLOURS.length].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
// Colours that were chosen, "#rrggbb" by label; tells whether any is another one than before.
export function paint(list) {
  const before = JSON.stringify([...chosen]);
  chosen.clear();
  for (const [label, text] of list) if (text) chosen.set(label, [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  return before !== JSON.stringify([...chosen]);
}
export const css = (label) => `rgb(${colour(label).join(" ")})`;
export const WIDTHS = [320, 640, 960, 1280, 1920];

class Kept {
  constructor(room, read) {
    this.room = room; this.read = read; this.used = 0;
    this.ready = new Map(); this.coming = new Map(); this.failed = new Map();
  }
  peek(url) {
    const found = this.ready.get(url);
    if (found) { this.ready.delete(url); this.ready.set(url, found); }
    return found ? found.value : null;
  }
  get waiting() { return this.coming.size; }
  comes(url) { return this.coming.has(url); }
  any() { return Promise.race([...this.coming.values()]); }
  load(url) {
    const found = this.peek(url);
    if (found) return Promise.resolve(found);
    if (this.coming.has(url)) return this.coming.get(url);
    // What just failed is not asked for again at every drawing.
    const failed = this.failed.get(url);
    if (failed && performance.now() - failed.at < 1500) return Promise.reject(failed.error);
    const promise = fetch(url).then((response) => {
      if (!response.ok) throw new Error(`${url}: ${response.status}`);
      return response.blob();
    }).then(this.read).then(({ value, bytes }) => {
      this.ready.set(url, { value, bytes });
      this.used += bytes;
      for (const [old, item] of this.ready) {
        // The last few stay, however large: one picture on screen must not push out the other one.
        if (this.used <= this.room || this.ready.size <= 6) break;
        this.ready.delete(old); this.used -= item.bytes;
        if (item.value.close) item.value.close();
      }
      this.failed.delete(url);
      return value;
    }).catch((error) => { this.failed.set(url, { at: performance.now(), error }); throw error; }).finally(() => this.coming.delete(url));
    this.coming.set(url, promise);
    return promise;
  }
}

async function picture(blob) {
  const value = await createImageBitmap(blob);
  return { value, bytes: value.width * value.height * 4 };
}

// Labels are the grey values themselves: no colour management may touch them.
async function labels(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height);
  for (let at = 0; at < data.length; at++) data[at] = rgba[4 * at];
  return { value: { width, height, data }, bytes: data.length };
}

export const pictures = new Kept(256e6, picture);
export const maps = new Kept(96e6, labels);
export const small = new Kept(48e6, picture);

// What lies over the picture for a label map, at the clip's size: an ImageData to be put on a canvas.
export function overlay(map, mode, into) {
  const { width, height, data } = map;
  const out = new Uint32Array(into.data.buffer);
  out.fill(0);
  const pack = (c, a) => ((a << 24) | (c[2] << 16) | (c[1] << 8) | c[0]) >>> 0;
  if (mode === "matte") {
    for (let at = 0; at < data.length; at++) out[at] = data[at] ? 0xffffffff : 0xff000000;
    return into;
  }
  if (mode === "checker") {
    for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) {
      if (!data[at]) out[at] = ((x >> 4) + (y >> 4)) & 1 ? 0xffc8c8c8 : 0xff8c8c8c;
    }
    return into;
  }
  const tints = new Uint32Array(256), lines = new Uint32Array(256);
  for (let label = 1; label < 256; label++) {
    tints[label] = mode === "tint" ? pack(colour(label), 110) : 0;
    lines[label] = pack(colour(label), 255);
  }
  const thick = Math.max(1, Math.round(Math.min(width, height) / 360));
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) {
    const label = data[at];
    if (!label) continue;
    const edge = (x >= thick && data[at - thick] !== label) || (x + thick < width && data[at + thick] !== label)
      || (y >= thick && data[at - thick * width] !== label) || (y + thick < height && data[at + thick * width] !== label);
    out[at] = edge ? lines[label] : tints[label];
  }
  return into;
}

// One label's pixels as run lengths along the rows, the first of them background.
export function runs(map, label) {
  const found = [];
  let inside = false, length = 0;
  for (let at = 0; at < map.data.length; at++) {
    if ((map.data[at] === label) !== inside) { found.push(length); length = 0; inside = !inside; }
    length++;
  }
  found.push(length);
  return found;
}
