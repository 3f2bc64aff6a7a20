"""HTTP, both ways: the server's block of routes and bounds, and the client that fetches pages within them."""
