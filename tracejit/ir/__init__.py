"""The intermediate representation: symbolic sizes, typed SSA nodes, graphs, the printer and the verifier."""
