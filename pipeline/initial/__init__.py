"""The first config for a folder of images, fitted to the device and to a budget of time."""
