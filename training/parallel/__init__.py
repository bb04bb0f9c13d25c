"""Several processes at work on one run, to the same bits as one. Built on torch.distributed."""
