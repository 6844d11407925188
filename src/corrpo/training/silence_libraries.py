"""The libraries beneath a training run kept from drowning its one line of progress; errors still show."""

import logging
import os
import warnings


def silence_libraries() -> None:
    """Turn off bars, remarks and deprecation warnings of TRL, transformers and datasets in this process."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(torch|trl|transformers|peft)\b")
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("trl").setLevel(logging.ERROR)
