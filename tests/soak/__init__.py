"""`./dev soak`: random deploys and failures under load, for any time."""
