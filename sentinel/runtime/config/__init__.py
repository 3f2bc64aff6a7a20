"""Configuration: from text and the environment to frozen dataclasses, and back to text, schema and documents."""
