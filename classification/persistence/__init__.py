"""Files: checkpoints, workspaces, arrays, untrusted files, full disks."""
