"""Second opinions by statsmodels: only ever imported in a child of its own, because they take 200 MB and seconds to load."""
