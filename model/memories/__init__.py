"""Methods' memories of images, one a module; the server refuses them unless it is allowed to keep images."""
