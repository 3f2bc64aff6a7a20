"""The certificate the webhook is served with: an authority of its own, where it is kept, and who is told to trust it."""
