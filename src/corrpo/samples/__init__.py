"""Samples: prompts, responses and answers, from files and datasets to token ids."""

from corrpo.samples.encoding import (
    Template,
    appended_tokens,
    encode_prompt,
    encode_response,
    ends_with_assistant,
    token_texts,
)
from corrpo.samples.loading import Sample, as_samples, describe_samples, load_samples, samples_digest
from corrpo.samples.options import SampleOptions

__all__ = [
    "Sample",
    "SampleOptions",
    "Template",
    "appended_tokens",
    "as_samples",
    "describe_samples",
    "encode_prompt",
    "encode_response",
    "ends_with_assistant",
    "load_samples",
    "samples_digest",
    "token_texts",
]
