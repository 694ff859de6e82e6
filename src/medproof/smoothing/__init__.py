"""Randomized smoothing: from votes under noise to certificates that hold up to a hostile statistician.

The mathematics (`bounds`, `plans`, `scheme`, `certificate`, `resize_norm`) needs no model and no torch.
"""
