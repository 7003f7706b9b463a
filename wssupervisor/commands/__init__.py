"""The verbs of wssctl, one file each."""
