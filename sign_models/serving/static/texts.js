// What the page says, by language. A function takes the values that it names.
const EN = {
  skip: "To the texts", title: "Sign translation", language: "Language", input: "Signing", results: "Texts", about: "About this model",
  skeleton: "Skeleton of the person in the picture", drop: "Start the camera, or drop a video here", camera: "Camera", choose: "Choose a video",
  record: "Record (R)", live: "Live (L)", vtt: "Save WebVTT", srt: "Save SubRip", clear: "Clear",
  honest: "This is a research model and no interpreter. It knows only what it was trained on, and it writes fluent text also where it is wrong. Do not rely on it for medical, legal or other matters that count.",
  private: "Pictures stay on this device: body and hands are found in the browser, and only their coordinates are sent to the server, which keeps nothing.",
  loading: "Loading the models …", ready: "Ready. Press R to record, L to translate live.", starting: "Starting the camera …",
  recording: "Recording. Press R to end.", translating: "Translating …", reading: (p) => `Reading the video: ${p} %`, liveOn: "Live: a segment ends where both hands are down.",
  done: (n) => (n === 1 ? "1 segment" : `${n} segments`), nothing: "No signing was found.", cleared: "Cleared.", noCamera: (e) => `No camera: ${e}`, lost: "The connection to the server is lost.",
  noPicture: "This file holds no picture.", unreadable: "This file is no video that this browser can read.", noDuration: "This video tells no duration, or is a stream.",
  tooLong: (s) => `This video is too long: at most ${s} s.`, tooLarge: (w, h) => `The pictures are too large: ${w} x ${h}.`, cutOff: (s) => `This video is cut off after ${s} s.`,
  tooShort: "Nothing was recorded.", noModels: (e) => `The models cannot be loaded: ${e}`, refused: (e) => `Refused: ${e}`,
  look_body: (p) => `A body is seen in ${p} % of the frames only: step back until head, shoulders and hands are in the picture.`, look_hands: (p) => `A hand is seen in ${p} % of the frames only.`,
  look_no_shoulders: (p) => `A shoulder is outside of the picture in ${p} % of the frames, so that coordinates are measured by a guess: step back, or turn the camera.`,
  look_too_small: (p) => `You are too small in ${p} % of the frames: come closer.`,
  noFace: "This model was trained on clips with faces. The page finds body and hands only, so expect worse texts here than from the command translate.",
  warning: (e) => `Warning, keypoints unlike training's: ${e}`, unsure: "not sure", confidence: "confidence", others: "Other texts", time: (a, b) => `${a} – ${b} s`, latency: (ms) => `${ms} ms after the last frame`,
  numbers: (f, b, l, r) => `${f} frames/s · body ${b} · left hand ${l} · right hand ${r}`, yes: "✓", no: "–", empty: "(no text)",
  model: "Model", trainedOn: "Trained on", clips: "clips", texts: "texts", extractorOf: "Keypoints of its training", extractorHere: "Keypoints here", scores: "Scores on held-out clips", rate: "Frames a second", unknown: "unknown",
};
const ZH = {
  skip: "跳到文本", title: "手语翻译", language: "语言", input: "手语", results: "文本", about: "关于此模型",
  skeleton: "画面中人物的骨架", drop: "打开摄像头，或把视频拖到这里", camera: "摄像头", choose: "选择视频",
  record: "录制 (R)", live: "实时 (L)", vtt: "保存 WebVTT", srt: "保存 SubRip", clear: "清除",
  honest: "这是一个研究模型，不能代替手语翻译员。它只认识训练过的内容，出错时也会写出通顺的句子。请勿用于医疗、法律等重要场合。",
  private: "画面不会离开本设备：身体和双手由浏览器识别，只有坐标发送到服务器，服务器不保存任何内容。",
  loading: "正在加载模型…", ready: "就绪。按 R 录制，按 L 实时翻译。", starting: "正在打开摄像头…",
  recording: "正在录制。按 R 结束。", translating: "正在翻译…", reading: (p) => `正在读取视频：${p} %`, liveOn: "实时：双手放下即为一句结束。",
  done: (n) => `${n} 段`, nothing: "没有发现手语。", cleared: "已清除。", noCamera: (e) => `无法使用摄像头：${e}`, lost: "与服务器的连接已断开。",
  noPicture: "此文件没有画面。", unreadable: "浏览器无法读取此视频。", noDuration: "此视频没有时长信息，或是直播流。",
  tooLong: (s) => `视频太长：最多 ${s} 秒。`, tooLarge: (w, h) => `画面太大：${w} x ${h}。`, cutOff: (s) => `视频在 ${s} 秒处中断。`,
  tooShort: "没有录到内容。", noModels: (e) => `无法加载模型：${e}`, refused: (e) => `被拒绝：${e}`,
  look_body: (p) => `只有 ${p} % 的帧看到身体：请后退，让头、肩膀和双手进入画面。`, look_hands: (p) => `只有 ${p} % 的帧看到手。`,
  look_no_shoulders: (p) => `${p} % 的帧里有一侧肩膀在画面之外，坐标只能靠猜测：请后退，或转动摄像头。`,
  look_too_small: (p) => `${p} % 的帧里人太小：请靠近一些。`,
  noFace: "此模型的训练片段包含面部。本页只识别身体和双手，因此文本会比命令 translate 的差。",
  warning: (e) => `警告，关键点与训练不同：${e}`, unsure: "不确定", confidence: "置信度", others: "其他候选", time: (a, b) => `${a} – ${b} 秒`, latency: (ms) => `最后一帧后 ${ms} 毫秒`,
  numbers: (f, b, l, r) => `${f} 帧/秒 · 身体 ${b} · 左手 ${l} · 右手 ${r}`, yes: "✓", no: "–", empty: "（无文本）",
  model: "模型", trainedOn: "训练数据", clips: "个片段", texts: "条文本", extractorOf: "训练所用关键点", extractorHere: "本页关键点", scores: "留出片段得分", rate: "每秒帧数", unknown: "未知",
};
export const LANGUAGES = { en: EN, zh: ZH };
let chosen = "en";
/** The text of a key in the chosen language. */
export function text(key, ...values) {
  const found = LANGUAGES[chosen][key];
  return typeof found === "function" ? found(...values) : found;
}
/** Choose a language and write all that is marked in the document. */
export function speak(language) {
  chosen = language in LANGUAGES ? language : "en";
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  document.title = text("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", text(element.dataset.label));
  return chosen;
}
