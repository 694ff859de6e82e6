"""Runs and benchmarks in other tools' formats, and human readers as a row of the table.

`inspect_log`, `hf_folder` and `croissant` write what `medproof export` names; `sheet` and `reader` are the form that
people fill in and the way back. Nothing here imports torch.
"""
