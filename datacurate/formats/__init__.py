"""The files datacurate writes and reads: rank files, index files and what they state."""
