"""corrpo: measure Entropy-Gradient Inversion in language models, with intervals and controls."""
