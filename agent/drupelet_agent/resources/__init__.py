"""What the device has, what a model costs, and the plan that follows."""
