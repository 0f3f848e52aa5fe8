"""What flows through the house: clips, scenes, pairs and parts, and how they are stored."""
