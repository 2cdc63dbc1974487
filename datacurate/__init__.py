"""datacurate finds, ranks and prunes the training images that hurt adversarial robustness."""

__version__ = "0.1.0"
