"""The controlled experiment: arms, seeds, pre-registration, runs, results and the verdict."""
