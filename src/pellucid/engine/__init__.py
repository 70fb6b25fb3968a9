"""Running models with activations recorded and replaced: sites, traces, interventions, sweeps."""
