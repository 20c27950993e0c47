"""What a thousand clients do when their server goes: causes, outages and client models, each combination tried by itself."""
