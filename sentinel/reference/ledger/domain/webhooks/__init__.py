"""What is decided about webhooks: where one may go, when it is tried again, what an answer means for it and its endpoint."""
