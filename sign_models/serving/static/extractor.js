// Body and hands of a picture by MediaPipe Tasks, as the numbers that the server reads (sign_models/serving/frames.py).
import { FilesetResolver, HandLandmarker, PoseLandmarker } from "/assets/mediapipe/vision_bundle.mjs";

const BODY = 33, HAND = 21;
export const FRAME_FLOATS = 2 + 4 * BODY + 2 * (1 + 3 * HAND);
const MAX_SIDE = 1280, NARROW_ASPECT = 16 / 9, WIDENED_ASPECT = 2.4; // as in an extraction
const ARMS = [[11, 12], [11, 13], [13, 15], [12, 14], [14, 16], [11, 23], [12, 24], [23, 24], [0, 9], [0, 10]];
const FINGERS = [0, 1, 2, 3, 4].flatMap((f) => [0, 1, 2, 3].map((j) => [j === 0 ? 0 : 4 * f + j, 4 * f + j + 1]));

/** A graphics card, where there is a real one: software that draws like one is slower than the processor itself. */
function delegate() {
  const asked = new URLSearchParams(location.search).get("delegate");
  if (asked) return asked.toUpperCase() === "GPU" ? "GPU" : "CPU";
  const gl = document.createElement("canvas").getContext("webgl2");
  const told = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : gl ? gl.getParameter(gl.RENDERER) : "";
  return !gl || /swiftshader|llvmpipe|software|basic render/i.test(name) ? "CPU" : "GPU";
}

export class Extractor {
  /** Load both models anew: what a landmarker remembers of one clip must not reach into the next. */
  static async create() {
    const made = new Extractor();
    const files = await FilesetResolver.forVisionTasks("/assets/mediapipe");
    const base = (name, where) => ({ baseOptions: { modelAssetPath: `/assets/models/${name}.task`, delegate: where }, runningMode: "VIDEO" });
    for (const where of new Set([delegate(), "CPU"])) {
      try {
        made.pose = await PoseLandmarker.createFromOptions(files, { ...base("pose", where), numPoses: 1 });
        made.hand = await HandLandmarker.createFromOptions(files, { ...base("hand", where), numHands: 2 });
        made.delegate = where;
        return made;
      } catch (error) {
        made.close();
        if (where === "CPU") throw error;
      }
    }
    return made;
  }

  constructor() {
    this.last = -1;
    this.canvas = document.createElement("canvas");
    this.wide = document.createElement("canvas");
  }

  /** A narrow picture with its outermost columns repeated on both sides, as in an extraction (video/landmarks.py). */
  widened(picture, width, height) {
    if (width >= NARROW_ASPECT * height) return [picture, 0];
    const margin = Math.ceil((WIDENED_ASPECT * height - width) / 2);
    this.wide.width = width + 2 * margin;
    this.wide.height = height;
    const context = this.wide.getContext("2d");
    context.drawImage(picture, margin, 0, width, height);
    context.drawImage(picture, 0, 0, 1, height, 0, 0, margin, height);
    context.drawImage(picture, width - 1, 0, 1, height, margin + width, 0, margin, height);
    return [this.wide, margin];
  }

  /** The numbers of one picture. source: a video or an image; time: seconds, growing. */
  detect(source, time) {
    const width = source.videoWidth ?? source.width, height = source.videoHeight ?? source.height;
    const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
    const w = Math.round(width * scale), h = Math.round(height * scale);
    let picture = source;
    if (scale < 1) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.canvas.getContext("2d").drawImage(source, 0, 0, this.canvas.width, this.canvas.height);
      picture = this.canvas;
    }
    const ms = Math.max(Math.round(time * 1000), this.last + 1);
    this.last = ms;
    const [wide, margin] = this.widened(picture, w, h), share = (w + 2 * margin) / w;
    const bodies = this.pose.detectForVideo(wide, ms).landmarks;
    const hands = this.hand.detectForVideo(picture, ms);
    const frame = new Float32Array(FRAME_FLOATS);
    frame[0] = time;
    if (bodies.length) {
      frame[1] = 1;
      bodies[0].forEach((p, i) => frame.set([p.x * share - margin / w, p.y, p.z * share, p.visibility ?? 0], 2 + 4 * i));
    }
    hands.landmarks.slice(0, 2).forEach((points, i) => {
      const start = 2 + 4 * BODY + i * (1 + 3 * HAND);
      const kind = (hands.handedness ?? hands.handednesses)[i][0].categoryName;
      frame[start] = kind === "Left" ? 1 : 2;
      points.forEach((p, j) => frame.set([p.x, p.y, p.z], start + 1 + 3 * j));
    });
    return frame;
  }

  close() {
    this.pose?.close();
    this.hand?.close();
    this.pose = this.hand = undefined;
  }
}

/** Whether a body, a left and a right hand were found. */
export function found(frame) {
  const labels = [0, 1].map((i) => frame[2 + 4 * BODY + i * (1 + 3 * HAND)]);
  return { body: frame[1] > 0, left: labels.includes(1), right: labels.includes(2) };
}

/** Draw what a frame shows over a canvas of the picture's size. */
export function draw(canvas, frame, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.lineWidth = Math.max(2, width / 240);
  const lines = (start, step, pairs, colour) => {
    const point = (i) => [frame[start + step * i] * width, frame[start + step * i + 1] * height];
    context.strokeStyle = context.fillStyle = colour;
    for (const [a, b] of pairs) {
      context.beginPath();
      context.moveTo(...point(a));
      context.lineTo(...point(b));
      context.stroke();
    }
  };
  if (frame[1] > 0) lines(2, 4, ARMS, "#ffffff");
  for (const i of [0, 1]) {
    const start = 2 + 4 * BODY + i * (1 + 3 * HAND);
    if (frame[start] > 0) lines(start + 1, 3, FINGERS, frame[start] === 1 ? "#38bdf8" : "#f87171");
  }
}
