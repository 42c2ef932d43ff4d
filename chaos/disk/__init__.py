"""What a disk may hold after a crash: file trees, persistence models, and the states they allow."""
