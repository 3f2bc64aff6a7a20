"""`sentinel baseline`: past data into a store and out of it, and what a store has learned from."""
