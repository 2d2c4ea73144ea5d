"""After training: videos or files of keypoints to texts with times, captions and annotations."""

from sign_models.cli import commands
from sign_models.cli.commands import option

EXAMPLES = """
python -m entrypoints.translate clip.mp4
python -m entrypoints.translate --videos my_videos --model candidate --out captions --srt --eaf
mlflow run . -e translate -P videos=my_poses -P out=captions -P vtt=true
"""


@commands.tool(
    "translate",
    commands.VIDEO,
    option("--videos", "A video, a file of keypoints, a folder of either, or a glob of videos.", metavar="PATH"),
    option(
        "--model",
        "The translator: alias, version, run ID or MLflow URI.  [default: models:/sign-translator@champion]",
        metavar="MODEL",
    ),
    option("--out", "Folder for the files that are asked for.", metavar="DIR"),
    commands.flag("--srt", "Write SubRip captions."),
    commands.flag("--vtt", "Write WebVTT captions."),
    commands.flag("--eaf", "Write ELAN annotations."),
    commands.flag("--json", "Write segments, other texts and the score as JSON."),
    option("--n-best", "How many texts a clip has in the JSON.  [default: 1]", metavar="INTEGER"),
    option(
        "--unsure",
        "Where a text is rejected, captions have [unsure] (mark) or nothing (omit).  [default: mark]",
        metavar="WAY",
    ),
    option(
        "--reject-below",
        "Confidence below which a text is rejected.  [default: as the model was made]",
        metavar="NUMBER",
    ),
    option("--overlay", "Write the video again with skeleton and captions: .mp4 or .gif.", metavar="FILE"),
    commands.flag(
        "--strict-extractor", "Refuse clips of another extractor than the training clips'.  [default: a warning]"
    ),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Translate videos or files of keypoints, and print a line for each segment: clip, start, end (s), text."""
    from sign_models.cli.translate import parse
    from sign_models.pipeline.translate import run_translate

    run_translate(parse(given))
