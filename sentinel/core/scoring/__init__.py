"""Window and expectation to verdict."""
