"""Before all stages: files of keypoints to a store that training reads from the disk, with a report."""

from sign_models.cli import commands
from sign_models.cli.commands import option

EXAMPLES = """
python -m entrypoints.import --source my_poses --out my_store --split-ratio 0.8,0.1,0.1 --group signer
python -m entrypoints.import --verify my_store
mlflow run . -e import -P source=my_poses -P out=my_store -P on_bad_sample=reject
"""


@commands.tool(
    "import",
    option("--source", "File or folder of keypoints, of any layout in docs/formats.", metavar="PATH"),
    option("--out", "Folder to write the store to: new, or of this import cut off.", metavar="DIR"),
    option(
        "--texts",
        "text_data.json with texts and splits; they win over those of the source. Or the word folders: a clip without "
        "a text has the name of its folder.",
        metavar="FILE",
    ),
    option("--labels", "Label files that lie elsewhere, such as .eaf files beside videos.", metavar="PATH"),
    option(
        "--tiers", "ELAN tiers that hold the sentences, by commas.  [default: told by their names]", metavar="NAMES"
    ),
    option("--times", "Starts and ends of labels that do not state their unit: seconds, ms or frames.", metavar="UNIT"),
    option("--layout", "Landmarks of files that do not state them: a name, or a YAML file of names.", metavar="NAME"),
    option("--fps", "Frames a second of files that do not state them.", metavar="NUMBER"),
    option(
        "--unit",
        "Unit of coordinates, for files that do not state it: pixel, normalized (0 to 1) or centered.",
        metavar="UNIT",
    ),
    option("--size", "Width and height of the pictures in pixels, where the files do not state it.", metavar="WxH"),
    option(
        "--split-ratio",
        "Shares of train, dev and test, such as 0.8,0.1,0.1.  [default: the splits that the source tells]",
        metavar="SHARES",
    ),
    option(
        "--group",
        "What no two splits may share: signer or video (as the files tell it), id (nothing), or a regular expression "
        "that finds it in the id.  [default: as the files tell it]",
        metavar="GROUP",
    ),
    option("--seed", "Of the splits by ratio.  [default: 0]", metavar="INTEGER"),
    option("--on-bad-sample", "stop or reject: leave it out and list it.  [default: stop]", metavar="CHOICE"),
    option("--on-leak", "stop or report: keep what two splits share.  [default: stop]", metavar="CHOICE"),
    option(
        "--mirror",
        "auto: clips of signers whose left hand leads are mirrored, each by itself where no signer is known or neither "
        "hand leads; never.  [default: auto]",
        metavar="CHOICE",
    ),
    option("--workers", "Processes that read, one at least.  [default: as help]", metavar="INTEGER"),
    option("--verify", "Only check every byte of this store; takes no other option.", metavar="DIR"),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Write keypoints of any known layout to a store on disk, checked, and report what is in them."""
    from sign_models.cli.importing import parse, parse_verify
    from sign_models.pipeline.importing import run_import, run_verify

    if given["verify"]:
        run_verify(parse_verify(given))
    else:
        run_import(parse(given))
