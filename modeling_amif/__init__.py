"""What a checkpoint carries: the network."""
