"""How stages run: configuration, plan, the Ray graph, commit and resume, report, command line."""
