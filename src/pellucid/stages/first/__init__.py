"""First sources: of every head and neuron by itself."""
