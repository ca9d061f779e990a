"""The model families that conch converts: tensor rules and metadata, as data. No I/O."""
