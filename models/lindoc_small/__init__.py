"""The built-in encoder: MiniLM's body, linear-attention memory across windows, three read-outs."""
