"""What is made of the hidden states: vectors, answers, summaries."""
