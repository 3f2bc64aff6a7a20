"""Who tells of a stage's calls, of spans, histograms and logs: each call counts once."""
