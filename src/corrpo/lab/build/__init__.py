"""Train the lab's checkpoints from a seed; `corrpo lab build`."""
