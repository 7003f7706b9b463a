"""Random deploys and mishaps for as long as one likes, under load: `./dev soak`."""
