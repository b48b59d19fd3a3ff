from medstrata.cli.main import main

main()
