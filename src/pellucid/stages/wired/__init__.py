"""Sources of models with few weights: what every part reads and writes, coordinate by coordinate, exactly."""
