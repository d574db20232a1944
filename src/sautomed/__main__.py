"""python -m sautomed.cli"""

from sautomed.cli import main

main()
