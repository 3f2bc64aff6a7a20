"""Data we ask for: one package or file a kind of target; what they share is `runtime.polling`."""
