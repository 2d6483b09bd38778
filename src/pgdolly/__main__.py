from pgdolly.cli.main import main

main()
