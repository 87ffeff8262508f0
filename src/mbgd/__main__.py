"""`python -m mbgd`: what the command `mbgd` takes in and gives out."""

from mbgd.cli import main

if __name__ == "__main__":  # and not in a process that was begun by one of ours
    main()
