"""`python -m lindoc`."""

from lindoc.cli.app import main

if __name__ == "__main__":
    main()
