"""python -m sautomed"""

from sautomed.cli import main

main()
