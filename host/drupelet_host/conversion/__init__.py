"""From a PyTorch module to the model files that engines load."""
