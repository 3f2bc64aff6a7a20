"""Wire shape to SampleBatch."""
