"""SAM: its parts, its checkpoints in every layout, LoRA, and its encoder as a trunk."""
