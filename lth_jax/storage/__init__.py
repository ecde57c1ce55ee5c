"""Files and checkpoints that are complete or absent, locally or on gs://.

`files` reads and writes single files, `store` saves and loads checkpoints,
`lock` gives a workdir one writer, `buckets` has what is special about object
stores. Nothing here knows what is stored.
"""
