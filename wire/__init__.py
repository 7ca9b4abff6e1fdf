"""What everyone says: schema, dtypes, batches, reasons and units; imports nothing else of ours."""
