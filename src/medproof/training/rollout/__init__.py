"""Rollout: G sampled completions for each prompt, from the network in training or from vLLM."""

from medproof.training.rollout.engine import Engine, Sampling

__all__ = ["Engine", "Sampling"]
