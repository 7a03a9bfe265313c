"""Text in, results out; knows no architecture and no kernel."""
