"""All benchmarks in one run: `make bench`. Each prints Markdown tables; see README.md for kept results."""

import platform

import torch

import accuracy
import monitor
import monitor_load
import processes
import rl
import spectra
import speed
import training_cpu
import view


def main() -> None:
    """Print what the machine is, then every table."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}\n")
    speed.main()
    spectra.main()
    accuracy.main()
    processes.main()
    rl.main()
    training_cpu.main()
    view.main()
    monitor.main([])
    monitor_load.main([])


if __name__ == "__main__":
    main()
