"""The command line: `app.py` lists the verbs, one module here does what each says."""
