"""What a training and its scores look like to a reader. Reads what other verbs wrote; imports no model."""
