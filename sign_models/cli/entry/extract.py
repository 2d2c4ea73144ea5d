"""Before the import: videos to files of keypoints, by MediaPipe, with a report."""

from sign_models.cli import commands
from sign_models.cli.commands import option

EXAMPLES = """
python -m entrypoints.extract --videos my_videos --out my_poses
python -m entrypoints.extract --videos 'recordings/*.mp4' --out my_poses --person left --workers 2
mlflow run . -e extract -P videos=my_videos -P out=my_poses
mlflow run . -e import -P source=my_poses -P out=my_store
"""


@commands.tool(
    "extract",
    commands.VIDEO,
    option("--videos", "A video, a folder of videos, a glob pattern in quotes, or a camera: 0, 1, ...", metavar="PATH"),
    option("--out", "Folder to write the .pose files to; whole files in it are kept.", metavar="DIR"),
    option(
        "--person",
        "Which person to follow: nearest (to the last frame's, the largest first), largest, left or right (of the "
        "picture, at the start).  [default: nearest]",
        metavar="CHOICE",
    ),
    option("--seconds", "How long a camera is recorded.  [default: 10]", metavar="NUMBER"),
    option("--max-fps", "Leave out frames beyond this rate.  [default: every frame]", metavar="NUMBER"),
    option("--pose-model", "MediaPipe's .task file for the body.  [default: made on first use]", metavar="FILE"),
    option("--hand-model", "MediaPipe's .task file for the hands.  [default: made on first use]", metavar="FILE"),
    commands.flag("--face", "Find the face too: 468 landmarks more.  [default: false]"),
    option("--face-model", "MediaPipe's .task file for the face; it asks for --face.", metavar="FILE"),
    option("--workers", "Videos at once, a process each.  [default: one for two cores]", metavar="INTEGER"),
    option("--on-bad-video", "stop (after the others) or skip: list it.  [default: stop]", metavar="CHOICE"),
    commands.flag("--sheets", "Write contact sheets, which show the people.  [default: true]"),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Find the body and hands in videos and write a .pose file for each, which import reads."""
    from sign_models.cli.extract import parse
    from sign_models.pipeline.extract import run_extract

    run_extract(parse(given))
