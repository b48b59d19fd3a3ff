"""`python -m medstrata`: the command line."""

from medstrata.cli.main import main

main()
