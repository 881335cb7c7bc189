"""Kill anything, at any moment, and compare the model's bits with those of an undisturbed run."""
