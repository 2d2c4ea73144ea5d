"""Small files of every format, made of the generated signer: what the readers are tested on.

Each writer takes an empty folder, writes one movement in its format and returns the path to read. The movement is the
same everywhere, so that every format must normalise to the same numbers.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from tests.keypoints.clips import FRAMES, SIZE, TEXT, dump, scored
from tests.keypoints.eaf import Eaf
from tests.keypoints.pose_examples import pose_coco, pose_hand, pose_holistic, pose_openpose
from tests.keypoints.signer import signer
from tests.keypoints.table_examples import (
    csv_counted,
    csv_lists,
    csv_long,
    csv_named,
    parquet_lists,
    parquet_long,
    parquet_wide,
    tables_of_parts,
    vectors,
)


@dataclass(frozen=True)
class Example:
    """reader, layout, ids: what reading must say. parts: landmarks that the layout holds in full."""

    write: Callable[[Path], Path]
    reader: str
    layout: str
    ids: tuple[str, ...] = ("clip",)
    text: str | None = None
    split: str | None = None


def seed_dict(folder: Path) -> Path:
    return dump(folder / "video_sequences.pkl", {"clip": scored("coco_wholebody_133")})


def seed_list(folder: Path) -> Path:
    array = scored("mediapipe_75")
    record = {"id": "clip", "keypoints": array[..., :2], "confidence": array[..., 2], "fps": 25, "text": TEXT}
    return dump(folder / "video_sequences.pkl", [record | {"split": "train"}])


def seed_sequences(folder: Path) -> Path:
    body = signer("mediapipe_75", FRAMES)
    return dump(folder / "keypoints.pkl", {"layout": "mediapipe_75", "fps": 25.0, "sequences": {"clip": body}})


def parts_npz(folder: Path) -> Path:
    values, path = scored("mediapipe_75"), folder / "clip.npz"
    np.savez(path, pose=values[:, :33], left_hand=values[:, 33:54], right_hand=values[:, 54:])
    return path


def pyskl_pickle(folder: Path) -> Path:
    values = scored("coco_wholebody_133")
    clip = {"frame_dir": "clip", "label": 7, "img_shape": SIZE[::-1], "total_frames": FRAMES}
    clip |= {"keypoint": values[None, ..., :2], "keypoint_score": values[None, ..., 2]}
    return dump(folder / "all.pkl", {"split": {"xsub_val": ["clip"]}, "annotations": [clip]})


def seed_npz(folder: Path) -> Path:
    path = folder / "clip.npz"
    np.savez_compressed(path, arr_0=scored("openpose_137"), fps=np.array(25.0))
    return path


def seed_hdf5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "all.h5", "w") as file:
        file["train/clip"] = scored("openpose_137")
        file["train/clip"].attrs["text"] = TEXT
    return folder / "all.h5"


def elan(folder: Path) -> Path:
    np.savez(folder / "clip.npz", keypoints=scored("openpose_137"), fps=np.array(25.0))
    eaf = Eaf("clip.mp4")
    eaf.timed("Gloss", [(0, 120, "GUTEN"), (120, 240, "MORGEN")])
    eaf.timed("Translation", [(0, 240, TEXT)])
    (folder / "clip.eaf").write_text(str(eaf), encoding="utf-8")
    return folder


def seed_json(folder: Path) -> Path:
    path = folder / "keypoints.json"
    path.write_text(json.dumps({"clip": scored("coco_wholebody_133").tolist()}))
    return path


def openpose_frame(values: np.ndarray) -> dict:
    """One person of OpenPose's JSON out of (137, 3)."""
    cuts = np.split(values, [25, 95, 116])
    names = ("pose", "face", "hand_left", "hand_right")
    return {f"{name}_keypoints_2d": part.ravel().tolist() for name, part in zip(names, cuts, strict=True)}


def openpose(folder: Path) -> Path:
    clip = folder / "clip"
    clip.mkdir()
    for t, values in enumerate(scored("openpose_137")):
        frame = {"version": 1.3, "people": [{"person_id": [-1], **openpose_frame(values)}]}
        (clip / f"clip_{t:012d}_keypoints.json").write_text(json.dumps(frame))
    return folder


def mmpose(folder: Path) -> Path:
    frames = [
        {
            "frame_id": t,
            "instances": [{"keypoints": v[:, :2].tolist(), "keypoint_scores": v[:, 2].tolist(), "bbox": []}],
        }
        for t, v in enumerate(scored("coco_wholebody_133"))
    ]
    path = folder / "clip.json"
    path.write_text(json.dumps({"meta_info": {"dataset_name": "coco_wholebody"}, "instance_info": frames}))
    return path


def people(layout: str) -> list[list[dict]]:
    """The one person of each frame as MMPose writes it; a place that nobody needs has numbers too."""
    found = np.nan_to_num(scored(layout))
    return [[{"keypoints": v[:, :2].tolist(), "keypoint_scores": v[:, 2].tolist()}] for v in found]


def mmpose_pictures(folder: Path) -> Path:
    (folder / "clip").mkdir()
    for t, persons in enumerate(people("coco_wholebody_133")):
        (folder / "clip" / f"{t:06d}.json").write_text(json.dumps(persons))
    return folder


def sapiens(folder: Path) -> Path:
    (folder / "clip").mkdir()
    for t, persons in enumerate(people("sapiens_308")):
        (folder / "clip" / f"frame-{t}.json").write_text(json.dumps({"instance_info": persons}))
    return folder


def results(folder: Path) -> Path:
    """What the Holistic task of MediaPipe finds, in JavaScript's spelling."""
    values = scored("mediapipe_75")
    names = {"poseLandmarks": slice(0, 33), "leftHandLandmarks": slice(33, 54), "rightHandLandmarks": slice(54, 75)}
    frames = [
        {
            name: [
                [{"x": float(x) / 640, "y": float(y) / 480, "z": 0.0, "visibility": float(c)} for x, y, c in v[part]]
            ]
            for name, part in names.items()
        }
        for v in values
    ]
    path = folder / "clip.json"
    path.write_text(json.dumps({"fps": 25, "word": TEXT, "frames": frames}))
    return path


def alphapose(folder: Path, layout: str = "halpe_136") -> Path:
    path = folder / "clip" / "alphapose-results.json"
    path.parent.mkdir()
    results = [
        {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": v.ravel().tolist(), "score": 2.9, "idx": [0.0]}
        for t, v in enumerate(scored(layout))
    ]
    path.write_text(json.dumps(results))
    return folder


def coco(folder: Path) -> Path:
    path, values = folder / "clip.json", scored("coco_wholebody_133")
    images = [{"id": t + 1, "file_name": f"clip_{t:06}.jpg"} for t in range(FRAMES)]
    found = [{"image_id": t + 1, "category_id": 1, "keypoints": v.ravel().tolist()} for t, v in enumerate(values)]
    path.write_text(json.dumps({"images": images, "annotations": found, "categories": []}))
    return path


def zipped_array(folder: Path) -> Path:
    np.save(folder / "clip.npy", scored("mediapipe_75"))
    path = folder / "clip.npy.gz"
    path.write_bytes(gzip.compress((folder / "clip.npy").read_bytes()))
    (folder / "clip.npy").unlink()
    return path


def array_of_clips(folder: Path) -> Path:
    """One clip, padded, with its id, label and length."""
    whole = np.pad(scored("mediapipe_75"), ((0, 3), (0, 0), (0, 0)))[None]
    np.savez(folder / "all.npz", X=whole, ids=["clip"], labels=[TEXT], lengths=[FRAMES])
    return folder / "all.npz"


def array_beside_ids(folder: Path) -> Path:
    array = np.empty(1, object)
    array[0] = scored("mediapipe_75")
    np.save(folder / "X_train.npy", array)
    np.save(folder / "ids_train.npy", np.array(["clip"]))
    np.save(folder / "y_train.npy", np.array([TEXT], object))
    return folder


def array_of_objects(folder: Path) -> Path:
    np.save(folder / "all.npy", np.array({"clip": scored("coco_wholebody_133")}, object))
    return folder / "all.npy"


def numbered_frames(folder: Path) -> Path:
    return dump(folder / "clip.pkl", dict(enumerate(scored("coco_wholebody_133"))))


def frames_in_parts(folder: Path) -> Path:
    frames = [{"pose": v[:33], "left_hand": v[33:54], "right_hand": v[54:]} for v in scored("mediapipe_75")]
    return dump(folder / "clip.pkl", frames)


def headless_labels(folder: Path) -> Path:
    np.savez(folder / "clip.npz", keypoints=scored("openpose_137"))
    (folder / "train_labels.csv").write_text(f'clip,"{TEXT}"\n', encoding="utf-8")
    return folder


def isharah(folder: Path) -> Path:
    dump(folder / "pose_data.pkl", {"01_0001": {"keypoints": scored("isharah_86")[..., :2]}})
    (folder / "train.csv").write_text(f"id|gloss\n01_0001|{TEXT}\n", encoding="utf-8")
    return folder


def mediapipe_frames(folder: Path) -> Path:
    take = folder / "hello" / "0"
    take.mkdir(parents=True)
    for t, frame in enumerate(vectors("mediapipe_75")):
        np.save(take / f"{t}.npy", frame)
    return folder


def mediapipe_clip(folder: Path) -> Path:
    path = folder / "clip.npy"
    np.save(path, vectors("mediapipe_543"))
    return path


def skels(folder: Path) -> Path:
    joints = np.concatenate([signer("skels_50", FRAMES), np.zeros((FRAMES, 50, 1))], -1).reshape(FRAMES, -1) / 3
    counter = np.arange(FRAMES)[:, None] / FRAMES
    line = " ".join(f"{value:.5f}" for value in np.concatenate([joints, counter], 1).ravel())
    (folder / "dev.skels").write_text(line + "\n")
    (folder / "dev.files").write_text("dev/clip\n")
    (folder / "dev.text").write_text(TEXT + "\n")
    (folder / "dev.gloss").write_text("GUTEN MORGEN\n")
    return folder / "dev.skels"


def unisign(folder: Path) -> Path:
    values = scored("coco_wholebody_133")
    clip = {
        "keypoints": [v[None, :, :2] / np.array(SIZE, np.float32) for v in values],
        "scores": [v[None, :, 2] for v in values],
    }
    dump(folder / "pose_format" / "clip.pkl", clip)
    label = {"name": "clip", "gloss": ["GUTEN"], "text": TEXT, "video_path": "clip.mp4"}
    dump(folder / "labels.train", {"clip": label}, zipped=True)
    return folder


def mska(folder: Path) -> Path:
    keypoint = torch.from_numpy(scored("coco_wholebody_133"))
    record = {"name": "clip", "gloss": "GUTEN", "text": TEXT, "num_frames": FRAMES, "keypoint": keypoint}
    return dump(folder / "Phoenix-2014T.dev", {"clip": record})


def slrt(folder: Path) -> Path:
    dump(folder / "keypoints_hrnet.pkl", {"dev/clip": {"keypoints": scored("coco_wholebody_133")}})
    label = {"name": "dev/clip", "signer": "Signer08", "gloss": "GUTEN", "text": TEXT, "num_frames": FRAMES}
    dump(folder / "phoenix.dev", [label | {"sign": np.zeros((0,), np.float32)}], zipped=True)
    return folder


def glofe_openasl(folder: Path) -> Path:
    dump(folder / "mmpose" / "clip-00:00:00.460-00:00:01.106.pkl", scored("coco_wholebody_133"))
    row = f'clip-00:00:00.460-00:00:01.106\tclip\t"{TEXT}\tvalid\tsigner 3'
    (folder / "openasl-v1.0.tsv").write_text(f"vid\tyid\traw-text\tsplit\tsigner\n{row}\n", encoding="utf-8")
    return folder


def glofe_how2sign(folder: Path) -> Path:
    dump(folder / "clip_3-8-rgb_front.pkl", scored("glofe_137"))
    row = f"clip\tclip-rgb_front\t3\tclip_3-8-rgb_front\t0.1\t2.2\t{TEXT}"
    header = "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART_REALIGNED\tEND_REALIGNED\tSENTENCE"
    (folder / "how2sign_realigned_val.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    return folder


def openhands(folder: Path) -> Path:
    values = scored("mediapipe_75").astype(np.float64)
    depth = np.full((FRAMES, 75, 1), -0.1)
    keypoints = np.concatenate([values[..., :2] / SIZE, depth], -1)
    return dump(folder / "clip.pkl", {"keypoints": keypoints, "confidences": values[..., 2]})


COCO, HOLISTIC = "coco_wholebody_133", "mediapipe_75"
OPENASL = "mmpose/clip-00:00:00.460-00:00:01.106"
EXAMPLES: dict[str, Example] = {
    "seed dict": Example(seed_dict, "seed", COCO),
    "seed list": Example(seed_list, "seed", HOLISTIC, text=TEXT, split="train"),
    "seed sequences": Example(seed_sequences, "seed", HOLISTIC),
    "parts npz": Example(parts_npz, "parts", "mediapipe_75"),
    "pyskl": Example(pyskl_pickle, "pyskl", "coco_wholebody_133", text="7", split="dev"),
    "seed npz": Example(seed_npz, "seed", "openpose_137"),
    "elan": Example(elan, "seed", "openpose_137", ("clip/0.000-0.240",), TEXT),
    "seed json": Example(seed_json, "seed", COCO),
    "pose openpose": Example(pose_openpose, "pose", "openpose_137"),
    "pose coco": Example(pose_coco, "pose", COCO),
    "pose holistic": Example(pose_holistic, "pose", "mediapipe_576"),
    "pose hand": Example(pose_hand, "pose", "right_hand_21"),
    "openpose": Example(openpose, "openpose", "openpose_137"),
    "mmpose": Example(mmpose, "mmpose", COCO),
    "mmpose pictures": Example(mmpose_pictures, "mmpose", COCO),
    "sapiens": Example(sapiens, "mmpose", "sapiens_308"),
    "results": Example(results, "results", HOLISTIC, text=TEXT),
    "alphapose": Example(alphapose, "alphapose", "halpe_136"),
    "coco": Example(coco, "alphapose", COCO),
    "zipped array": Example(zipped_array, "seed", HOLISTIC),
    "array of clips": Example(array_of_clips, "batches", HOLISTIC, text=TEXT),
    "array beside ids": Example(array_beside_ids, "batches", HOLISTIC, text=TEXT),
    "array of objects": Example(array_of_objects, "seed", COCO),
    "parquet lists": Example(parquet_lists, "lists", HOLISTIC, text="hello"),
    "csv lists": Example(csv_lists, "lists", HOLISTIC),
    "tables of parts": Example(tables_of_parts, "parts", HOLISTIC),
    "numbered frames": Example(numbered_frames, "seed", COCO),
    "frames in parts": Example(frames_in_parts, "results", HOLISTIC),
    "headless labels": Example(headless_labels, "seed", "openpose_137", text=TEXT, split="train"),
    "isharah": Example(isharah, "slrt", "isharah_86", ("01_0001",), TEXT, "train"),
    "mediapipe frames": Example(mediapipe_frames, "mediapipe", HOLISTIC, ("hello/0",)),
    "mediapipe clip": Example(mediapipe_clip, "mediapipe", "mediapipe_543"),
    "parquet long": Example(parquet_long, "table", "mediapipe_543", ("train_landmark_files/7/clip",), "hello", "train"),
    "parquet wide": Example(parquet_wide, "table", "mediapipe_543", ("7",)),
    "csv long": Example(csv_long, "table", "mediapipe_543"),
    "csv counted": Example(csv_counted, "table", HOLISTIC, text="hello"),
    "csv named": Example(csv_named, "table", "canonical"),
    "skels": Example(skels, "skels", "skels_50", ("dev/clip",), TEXT, "dev"),
    "unisign": Example(unisign, "unisign", COCO, ("pose_format/clip",), TEXT, "train"),
    "mska": Example(mska, "mska", COCO, text=TEXT, split="dev"),
    "slrt": Example(slrt, "slrt", COCO, ("dev/clip",), TEXT, "dev"),
    "glofe openasl": Example(glofe_openasl, "glofe", COCO, (OPENASL,), '"' + TEXT, "dev"),
    "glofe how2sign": Example(glofe_how2sign, "glofe", "glofe_137", ("clip_3-8-rgb_front",), TEXT, "dev"),
    "openhands": Example(openhands, "openhands", HOLISTIC),
}
if find_spec("h5py"):  # an optional extra
    EXAMPLES["seed hdf5"] = Example(seed_hdf5, "seed", "openpose_137", ("train/clip",), TEXT, "train")
