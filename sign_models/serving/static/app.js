// The page: a camera or a video, keypoints of each frame, and what the server says of them.
import { draw, Extractor, found, FRAME_FLOATS } from "/static/extractor.js";
import { speak, text } from "/static/texts.js";

const MAX_SECONDS = 120, MAX_PIXELS = 2 ** 25, MAX_FRAMES = 3600, SEEK_MS = 10_000, BATCH = 4, BATCH_S = 0.15;
const at = (id) => document.getElementById(id);
const video = at("video"), canvas = at("skeleton"), stage = at("stage"), results = at("results");
let about = { fps: 25 }, extractor, camera, recorded = null, socket = null, began = 0, clock = 0, sent = 0, faultsShown = {};
const segments = [], rates = [], waiting = [];

function say(key, ...values) {
  at("status").className = "";
  at("status").dataset.key = key;
  at("status").textContent = text(key, ...values);
}
function complain(key, ...values) {
  say(key, ...values);
  at("status").className = "bad";
}
class Bad extends Error {
  constructor(key, ...values) {
    super(key);
    this.values = values;
  }
}

// What is shown ------------------------------------------------------------------------------------------------------

function element(name, content, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}
function sureness(confidence) {
  const meter = element("meter", [], { min: 0, max: 1, low: 0.5, high: 0.75, optimum: 1, value: confidence });
  meter.setAttribute("aria-label", text("confidence"));
  return [`${text("confidence")} `, meter, ` ${Math.round(100 * confidence)} %`];
}
function addSegment(segment, latency) {
  segments.push(segment);
  const shown = segment.text || segment.guess || text("empty");
  const mark = segment.unsure ? [element("span", text("unsure"), { className: "unsure-mark" }), " "] : [];
  const item = element("li", [...mark, element("span", shown, { className: `text${segment.unsure ? " unsure" : ""}` })]);
  const times = text("time", segment.start.toFixed(1), segment.end.toFixed(1));
  item.append(element("small", [times, " · ", ...sureness(segment.confidence), ` · ${text("latency", Math.round(latency))}`]));
  if (segment.n_best.length) {
    const others = segment.n_best.map((h) => element("li", `${h.text || text("empty")} (${Math.round(100 * h.confidence)} %)`));
    item.append(element("details", [element("summary", text("others")), element("ol", others)]));
  }
  results.append(item);
  for (const id of ["vtt", "srt", "clear"]) at(id).disabled = false;
}
function showNumbers(frame) {
  const now = performance.now();
  rates.push(now);
  while (rates.length > 30) rates.shift();
  const rate = rates.length > 1 ? ((rates.length - 1) * 1000) / (now - rates[0]) : 0;
  const seen = found(frame), mark = (yes) => text(yes ? "yes" : "no");
  at("numbers").dataset.rate = rate.toFixed(2);
  at("numbers").textContent = text("numbers", rate.toFixed(1), mark(seen.body), mark(seen.left), mark(seen.right));
}
/** What is wrong with the frames of an answer: by the server's names, the share of frames that it tells. */
function showFaults(faults) {
  faultsShown = faults;
  at("look").dataset.keys = Object.keys(faults).join(" ");
  at("look").textContent = Object.entries(faults).map(([name, share]) => text(`look_${name}`, Math.round(100 * share))).join(" ");
}
function showAbout() {
  const list = at("about"), unknown = text("unknown");
  at("no-face").textContent = about.face_missing ? text("noFace") : "";
  at("warning").textContent = about.warning ? text("warning", about.warning) : "";
  list.replaceChildren();
  const row = (key, value) => list.append(element("dt", text(key)), element("dd", value || unknown));
  row("model", about.model);
  const inputs = (about.data ?? []).map((d) => `${d.source || d.name}: ` + [d.clips && `${d.clips} ${text("clips")}`, d.texts && `${d.texts} ${text("texts")}`].filter(Boolean).join(", "));
  row("trainedOn", inputs.join("; "));
  row("extractorOf", (about.trained_extractors ?? []).join("; "));
  row("extractorHere", about.extractor);
  row("scores", Object.entries(about.scores ?? {}).map(([k, v]) => `${k} ${v.toFixed(1)}`).join(", "));
  row("rate", String(about.fps));
}

// Frames ---------------------------------------------------------------------------------------------------------------

async function loaded() {
  if (!extractor) {
    say("loading");
    extractor = await Extractor.create().catch((error) => { throw new Bad("noModels", error?.message ?? error); });
  }
  return extractor;
}
function look(time) {
  const frame = extractor.detect(video, time);
  draw(canvas, frame, video.videoWidth, video.videoHeight);
  showNumbers(frame);
  return frame;
}
function joined(frames) {
  const all = new Float32Array(frames.length * FRAME_FLOATS);
  frames.forEach((frame, i) => all.set(frame, i * FRAME_FLOATS));
  return all;
}
function take(frame) {
  if (recorded) at("record").dataset.frames = recorded.push(frame);
  if (recorded?.length >= MAX_FRAMES) onRecord(); // what the server takes at once
  if (socket?.readyState === WebSocket.OPEN) {
    waiting.push(frame);
    if (waiting.length < BATCH && frame[0] - sent < BATCH_S) return;
    sent = frame[0];
    socket.send(joined(waiting.splice(0)));
  }
}
const next = () => ("requestVideoFrameCallback" in video ? new Promise((go) => video.requestVideoFrameCallback((_, about) => go(about.mediaTime))) : new Promise((go) => requestAnimationFrame(() => go(video.currentTime))));

async function watch(mine) {
  let last = -1;
  while (camera === mine) {
    await next();
    const now = performance.now() / 1000 - began; // a camera's own clock may stand still
    if (camera !== mine || now <= last || !video.videoWidth) continue;
    last = clock = now;
    take(look(now));
    await new Promise((go) => setTimeout(go, 0)); // keys and buttons have their turn
  }
}

// The camera -------------------------------------------------------------------------------------------------------------

async function toggleCamera() {
  if (camera) return stopCamera();
  say("starting");
  let found;
  try {
    found = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } } });
  } catch (error) {
    throw new Bad("noCamera", error?.message ?? error);
  }
  reset();
  video.srcObject = found;
  await video.play();
  await loaded();
  camera = found;
  found.getVideoTracks()[0].onended = stopCamera; // unplugged, or taken away by the user
  began = performance.now() / 1000;
  stage.classList.add("busy", "mirrored");
  at("camera").setAttribute("aria-pressed", "true");
  at("record").disabled = at("live").disabled = false;
  say("ready");
  watch(found).catch(fail);
}
function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = undefined;
  recorded = null;
  socket?.close();
  video.srcObject = null;
  stage.classList.remove("busy", "mirrored");
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  for (const id of ["camera", "record", "live"]) at(id).setAttribute("aria-pressed", "false");
  at("record").disabled = at("live").disabled = true;
}
async function toggleRecord() {
  if (!camera || socket) return;
  if (!recorded) {
    recorded = [];
    at("record").setAttribute("aria-pressed", "true");
    return say("recording");
  }
  const frames = recorded;
  recorded = null;
  at("record").setAttribute("aria-pressed", "false");
  await translate(frames);
}

// Asking the server --------------------------------------------------------------------------------------------------------

async function ask(path, body, type) {
  const answer = await fetch(path, { method: "POST", body, headers: { "Content-Type": type } }).catch(() => { throw new Bad("lost"); });
  if (!answer.ok) throw new Bad("refused", (await answer.json().catch(() => ({}))).message ?? answer.status);
  return answer;
}
async function translate(frames) {
  if (!frames.length) throw new Bad("tooShort");
  const asked = performance.now();
  say("translating");
  const size = `width=${video.videoWidth}&height=${video.videoHeight}`;
  const first = frames[0][0];
  for (const frame of frames) frame[0] -= first;
  const answer = await (await ask(`/translate?${size}`, joined(frames), "application/octet-stream")).json();
  showFaults(answer.look_at);
  const offset = segments.length ? segments.at(-1).end : 0;
  for (const s of answer.segments) addSegment({ ...s, start: s.start + offset, end: s.end + offset }, performance.now() - asked);
  say(...(answer.segments.length ? ["done", answer.segments.length] : ["nothing"]));
}
function toggleLive() {
  if (!camera || recorded) return;
  if (socket) return socket.readyState === WebSocket.OPEN && endLive();
  const size = `width=${video.videoWidth}&height=${video.videoHeight}`;
  const mine = (socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream?${size}`));
  mine.binaryType = "arraybuffer";
  mine.onopen = () => say("liveOn");
  mine.onmessage = (event) => {
    const told = JSON.parse(event.data);
    if (told.type === "partial") {
      at("partial").textContent = told.text || told.guess || "";
      at("partial").classList.toggle("unsure", told.unsure);
    }
    if (told.type === "final") {
      at("partial").textContent = "";
      showFaults(told.look_at);
      const offset = Math.max(0, (segments.at(-1)?.end ?? 0) - told.start);
      addSegment({ ...told, start: told.start + offset, end: told.end + offset }, Math.max(told.latency_ms, (clock - told.end) * 1000));
    }
    if (told.type === "error") complain("refused", told.message);
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = null;
    at("partial").textContent = "";
    at("live").setAttribute("aria-pressed", "false");
  };
  mine.onerror = () => complain("lost");
  at("live").setAttribute("aria-pressed", "true");
}
function endLive() {
  if (waiting.length) socket.send(joined(waiting.splice(0)));
  socket.send("end");
}

// A video file ---------------------------------------------------------------------------------------------------------------

function event(name, ms = SEEK_MS) {
  return new Promise((go, stop) => {
    const timer = setTimeout(() => stop(new Bad("unreadable")), ms);
    const end = (then) => () => { clearTimeout(timer); video.removeEventListener(name, good); video.removeEventListener("error", bad); then(); };
    const good = end(go), bad = end(() => stop(new Bad("unreadable")));
    video.addEventListener(name, good);
    video.addEventListener("error", bad);
  });
}
async function openFile(file) {
  stopCamera();
  reset();
  const url = URL.createObjectURL(file);
  try {
    const ready = event("loadeddata");
    video.src = url;
    await ready.catch((error) => { throw video.videoWidth || !video.duration ? error : new Bad("noPicture"); });
    if (video.duration === Infinity) { // what a browser itself has recorded tells its duration only at its end
      const sought = event("seeked");
      video.currentTime = 1e6;
      await sought;
    }
    const { videoWidth: width, videoHeight: height, duration } = video;
    if (!width || !height) throw new Bad("noPicture");
    if (width * height > MAX_PIXELS) throw new Bad("tooLarge", width, height);
    if (!Number.isFinite(duration) || duration <= 0) throw new Bad("noDuration");
    const most = Math.min(MAX_SECONDS, Math.floor(MAX_FRAMES / about.fps));
    if (duration > most) throw new Bad("tooLong", most);
    stage.classList.add("busy");
    extractor?.close();
    extractor = undefined;
    await loaded();
    const frames = await readFile(duration);
    canvas.dataset.frames = String(frames.length);
    await translate(frames);
  } finally {
    URL.revokeObjectURL(url);
  }
}
/** Every frame that is shown at training's rate, at its own time. */
async function readFile(duration) {
  const frames = [];
  let last = -1;
  for (let n = 0; n / about.fps < duration; n++) {
    const shown = next();
    const sought = event("seeked").catch(() => { throw new Bad("cutOff", Math.max(last, 0).toFixed(1)); });
    video.currentTime = Math.min((n + 0.5) / about.fps, duration);
    await sought;
    // A frame that is shown already is not shown again, and a busy machine tells of one late.
    const told = await Promise.race([shown, new Promise((go) => setTimeout(() => go(-1), 300))]);
    const time = told > last ? told : video.currentTime;
    if (time > last) {
      last = time;
      frames.push(look(time));
      if (frames.length % 5 === 0) say("reading", Math.round((100 * time) / duration));
    }
  }
  if (duration - last > Math.max(1, 0.1 * duration)) throw new Bad("cutOff", Math.max(last, 0).toFixed(1));
  return frames;
}

// The rest -----------------------------------------------------------------------------------------------------------------------

function reset() {
  showFaults({});
  video.removeAttribute("src");
  video.srcObject = null;
  rates.length = 0;
}
function clear() {
  showFaults({});
  segments.length = 0;
  results.replaceChildren();
  for (const id of ["vtt", "srt", "clear"]) at(id).disabled = true;
  say("cleared");
  at("camera").focus();
}
async function save(form) {
  const cues = segments.map(({ start, end, text, confidence, unsure }) => ({ start, end, text, confidence, unsure }));
  const answer = await ask(`/captions?form=${form}`, JSON.stringify(cues), "application/json");
  const url = URL.createObjectURL(await answer.blob());
  element("a", [], { href: url, download: `signing.${form}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
function fail(error) {
  for (const id of ["record"]) at(id).setAttribute("aria-pressed", "false");
  complain(error instanceof Bad ? error.message : "refused", ...(error instanceof Bad ? error.values : [error?.message ?? error]));
}
let busy = false;
const guarded = (work) => async (...given) => {
  if (busy) return;
  busy = true;
  try {
    await work(...given);
  } catch (error) {
    fail(error);
  } finally {
    busy = false;
  }
};
const onRecord = guarded(toggleRecord), onLive = guarded(toggleLive), onFile = guarded(openFile);
at("camera").onclick = guarded(toggleCamera);
at("record").onclick = onRecord;
at("live").onclick = onLive;
at("choose").onclick = () => at("file").click();
at("file").onchange = () => { if (at("file").files[0]) onFile(at("file").files[0]); at("file").value = ""; };
at("vtt").onclick = guarded(() => save("vtt"));
at("srt").onclick = guarded(() => save("srt"));
at("clear").onclick = clear;
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
  if (event.key.toLowerCase() === "r" && !at("record").disabled) onRecord();
  if (event.key.toLowerCase() === "l" && !at("live").disabled) onLive();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    stage.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) onFile(event.dataTransfer.files[0]);
  });
}
at("language").onchange = () => { speak(at("language").value); showAbout(); showFaults(faultsShown); };
const asked = new URLSearchParams(location.search).get("lang") ?? navigator.language.slice(0, 2);
at("language").value = speak(asked);
about = await fetch("/about").then((answer) => answer.json()).catch(() => about);
showAbout();
