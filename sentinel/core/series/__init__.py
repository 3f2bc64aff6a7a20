"""SampleBatch to WindowBlock."""
