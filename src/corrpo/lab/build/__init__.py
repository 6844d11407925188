"""What trains the lab's tiny models."""
