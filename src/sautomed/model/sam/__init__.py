"""SAM itself: its parts, its checkpoints in every layout, LoRA, and SAM's encoder as a trunk."""
