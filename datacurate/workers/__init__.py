"""Run independent, resumable units of work: workspaces, processes, shared arrays."""
