"""Models and tokenizers: found, loaded, told apart, run."""
