"""`python -m medproof` is `medproof`."""

from medproof.cli import main

if __name__ == "__main__":
    main()
