"""What carries a variable of accounts in the model: heads, or a residual position. Interchange interventions tell."""
