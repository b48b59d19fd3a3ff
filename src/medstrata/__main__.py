from medstrata.cli import main

main()
