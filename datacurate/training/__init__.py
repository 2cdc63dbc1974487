"""One adversarial training: methods, loop, record, schedule, checkpoints, devices."""
