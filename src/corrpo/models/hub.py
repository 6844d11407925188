"""Whether a model on the hub can be had at all, told within seconds."""

from corrpo.errors import BadInputError

PATIENCE = 5.0
"""Seconds for the hub to answer."""


def check_reachable(name: str, revision: str | None) -> None:
    """See that a model is in the cache or that the hub answers, as libraries would try for half a minute.

    With HF_HUB_OFFLINE the hub is not asked. What the hub says of the model is for who loads it.

    Raises:
        BadInputError: neither.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    failed = HfHubHTTPError.__bases__  # the base of the HTTP library's errors, whichever library it is
    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        if constants.HF_HUB_OFFLINE or isinstance(cached, str):
            return
        get_hf_file_metadata(hf_hub_url(name, "config.json", revision=revision), timeout=PATIENCE)
    except (HfHubHTTPError, HFValidationError):
        return
    except failed as error:  # pyright: ignore[reportGeneralTypeIssues]
        raise BadInputError(
            f"{name} is no folder here and not in the cache, and the hub ({constants.ENDPOINT}) cannot be "
            f"reached: {error}. Give a local folder, or try again with a network"
        ) from error
