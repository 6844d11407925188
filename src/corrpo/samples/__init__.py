"""Samples: prompts, responses and answers, from JSONL to token ids."""

from corrpo.samples.encoding import Template, encode_prompt, encode_response, token_texts
from corrpo.samples.loading import Sample, as_samples, load_samples, samples_digest

__all__ = [
    "Sample",
    "Template",
    "as_samples",
    "encode_prompt",
    "encode_response",
    "load_samples",
    "samples_digest",
    "token_texts",
]
