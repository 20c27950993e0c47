"""Small real clients, each a process of its own: good ones, the contract's sample to the letter, and some with one defect."""
