"""Samples: prompts, responses and answers, from JSONL to token ids."""

from corrpo.samples.encoding import (
    Template,
    appended_tokens,
    encode_prompt,
    encode_response,
    ends_with_assistant,
    token_texts,
)
from corrpo.samples.loading import Sample, as_samples, load_samples, samples_digest

__all__ = [
    "Sample",
    "Template",
    "appended_tokens",
    "as_samples",
    "encode_prompt",
    "encode_response",
    "ends_with_assistant",
    "load_samples",
    "samples_digest",
    "token_texts",
]
