"""How well the next day is foretold: our expectations beside the truth and beside statsmodels."""
