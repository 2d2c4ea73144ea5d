"""Start a command again in several processes, by torchrun."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from sign_models import interruption
from sign_models.errors import ParamsError


def launch(size: int, module: str, arguments: Sequence[str]) -> None:
    """Run `python -m MODULE ARGUMENTS` in several processes of this machine, and wait until all have ended.

    torchrun's own options may come from the environment, e.g. PET_NNODES and PET_RDZV_ENDPOINT for several machines.

    Args:
        size: Processes.
        module: Name of the module.
        arguments: Of its command line.

    Raises:
        ParamsError: There are more processes than GPUs.
        SystemExit: With the exit code of the first process that failed, or 128 + the signal that ended this one.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // size)))
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # of torchrun: a process that fails has said why
    import torch
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    devices = torch.cuda.device_count()
    if 0 < devices < size:
        raise ParamsError(
            f"{size}, and this machine has {devices} GPU{'s' if devices > 1 else ''}",
            place="processes",
            wanted="one for each GPU at most",
        )
    interruption.release()  # torchrun has handlers of its own
    try:
        run.run(run.parse_args(["--nproc-per-node", str(size), "--module", module, *arguments]))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        sys.exit(128 + error.sigval)
