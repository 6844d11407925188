"""Work in pieces: processes, output folders, files, progress."""
