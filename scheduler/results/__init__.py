"""What runs came to, live or simulated: outcomes, measures of them, comparisons. Pure."""
