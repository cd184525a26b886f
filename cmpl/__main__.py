"""Runs the command line as `python -m cmpl`."""

import importlib

if __name__ == "__main__":  # by name: cmpl imports nothing above it, and workers import this module again
    importlib.import_module("cli.main").main(prog_name="cmpl")
