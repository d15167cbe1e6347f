"""Self-Rewarded Training, offline: votes, pseudo-labels, curricula, GRPO and evaluation without ground truth."""

__version__ = "0.1.0"
