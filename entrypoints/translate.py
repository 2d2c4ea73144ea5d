"""After training: videos or files of keypoints to texts with times, captions and annotations."""

from sign_models import cli

EXAMPLES = """
python -m entrypoints.translate --videos clip.mp4
python -m entrypoints.translate --videos my_videos --model candidate --out captions --srt --eaf
mlflow run . -e translate -P videos=my_poses -P out=captions -P vtt=true
"""


@cli.tool(
    "translate",
    cli.option("--videos", "A video, a file of keypoints, a folder of either, or a glob of videos.", metavar="PATH"),
    cli.option(
        "--model",
        "The translator: alias, version, run ID or MLflow URI.  [default: models:/sign-translator@champion]",
        metavar="MODEL",
    ),
    cli.option("--out", "Folder for the files that are asked for.", metavar="DIR"),
    cli.flag("--srt", "Write SubRip captions."),
    cli.flag("--vtt", "Write WebVTT captions."),
    cli.flag("--eaf", "Write ELAN annotations."),
    cli.flag("--json", "Write segments, other texts and the score as JSON."),
    cli.option("--n-best", "How many texts a clip has in the JSON.  [default: 1]", metavar="INTEGER"),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Translate videos or files of keypoints, and print a line for each segment: clip, start, end (s), text."""
    from sign_models import translate_phase

    translate_phase.run_translate(translate_phase.parse(given))


if __name__ == "__main__":
    cli.run(main)
