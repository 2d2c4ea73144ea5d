"""Whether the Hugging Face Hub can be reached, asked once: its client asks again for half a minute, for each file."""

from __future__ import annotations

from sign_models.errors import ResourceError


def reach_hub(place: str, repo: str, file: str, revision: str | None = None) -> bool:
    """Ask the Hub for a file, before its client does.

    Args:
        place: What it is asked for, for the message.
        repo: `user/name`.
        file: Name of a file that the repository must have.
        revision: Branch, tag or commit. None: the main branch.

    Returns:
        Whether the Hub answers, be it that there is no such file. False: it does not, and the cache holds the file, so
        that the client is to be told `local_files_only`.

    Raises:
        ResourceError: It does not answer, or HF_HUB_OFFLINE forbids to ask, and the cache does not hold the file.
        ValueError: `repo` is no name of a repository.
    """
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    try:
        get_hf_file_metadata(hf_hub_url(repo, file, revision=revision))
    except errors.HfHubHTTPError:
        return True
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
        if not isinstance(try_to_load_from_cache(repo, file, revision=revision), str):
            raise hub_unreachable(place, error) from error
        return False
    return True


def hub_unreachable(place: str, error: Exception) -> ResourceError:
    """Describe a Hub that does not answer.

    Args:
        place: What it was asked for.
        error: What its client raised.

    Returns:
        The error to raise.
    """
    return ResourceError(
        f"the Hub cannot be reached ({type(error).__name__}: {str(error)[:200]}), and its cache does not hold this",
        place=place,
        wanted="a connection",
        remedy="check the network, HF_ENDPOINT and HF_HUB_OFFLINE, or use a folder",
    )
