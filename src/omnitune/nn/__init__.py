"""Mathematics: models, fusions, heads, losses. Needs torch and transformers, knows no recipe, is usable alone."""
