// Playing: by the clip's own times, as fast as pictures come; a frame that is late is left out, never shown late.

import * as stage from "/static/stage.js";
import * as timeline from "/static/timeline.js";

const place = (id) => document.getElementById(id);
let app, turn = 0;

export function start(given) { app = given; }

export function play(speed) {
  app.playing = speed;
  place("play").textContent = speed ? "❚❚" : "▶";
  place("play").setAttribute("aria-label", speed ? "Pause" : "Play");
  if (!speed) { turn++; app.go(app.frame); return; }
  if (app.times.length <= app.state.project.frames) { play(0); return; } // not loaded yet: there is no clock to play by
  app.clock = { at: performance.now(), time: app.times[app.frame] };
  if (speed > 0 && app.frame === app.state.project.frames - 1) { app.frame = 0; app.clock.time = 0; }
  const mine = ++turn; // one loop alone, however often play is pressed within a frame
  requestAnimationFrame(function next(now) { if (mine === turn && playing(now)) requestAnimationFrame(next); });
}

// One turn; tells whether there is another.
function playing(now) {
  if (!app.playing) return false;
  const { times, state: { project: { frames } } } = app;
  const time = app.clock.time + (now - app.clock.at) / 1000 * app.playing;
  let frame = app.frame;
  if (app.playing > 0) while (frame + 1 < frames && times[frame + 1] <= time) frame++;
  else while (frame > 0 && times[frame] > time) frame--;
  const ahead = Math.sign(app.playing);
  for (let near = 1; near <= 12; near++) { const at = frame + ahead * near; if (at >= 0 && at < frames && !stage.isReady(at)) { stage.prefetch(at); if (near > 4) break; } }
  if (frame !== app.frame) {
    if (stage.isReady(frame) || (ahead > 0 ? frame >= app.frame + 12 : frame <= app.frame - 12)) { app.frame = frame; place("number").value = frame; timeline.follow(frame); stage.draw(); document.body.dataset.frame = frame; }
    else { stage.prefetch(frame); if (time - times[app.frame] > 0.5) app.clock = { at: now, time: times[app.frame] }; }
  }
  if ((app.playing > 0 && frame >= frames - 1) || (app.playing < 0 && frame <= 0)) { play(0); return false; }
  return true;
}

const SPEEDS = [1, 2, 4, 8];
export function shuttle(way) {
  const at = SPEEDS.indexOf(Math.abs(app.playing));
  play(way * (Math.sign(app.playing) === way ? SPEEDS[Math.min(at + 1, 3)] : 1));
}
export const toggle = () => play(app.playing ? 0 : Number(place("speed").value));
