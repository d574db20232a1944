"""python -m sautomed"""

from sautomed.cli import main

if __name__ == "__main__":  # processes that train together import it, too
    main()
