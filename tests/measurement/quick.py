"""Responses that are given, and the settings of a quick measurement of them."""

SAMPLES = [
    {"id": "dog", "prompt": "The dog ", "response": "walked to the river. The end"},
    {"id": "cat", "prompt": "A cat ", "response": "found the key near a bridge."},
    {"id": "sum", "prompt": "1 + 1 = ", "response": "2, or so they say", "answer": 2},
]
QUICK = {"template": "plain", "resamples": 100, "permutations": 100}
