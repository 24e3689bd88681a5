"""What a model costs and how well it does, measured where it will run: in the engine."""
