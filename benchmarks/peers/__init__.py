"""The same models on the same rows, trained by this project and by others."""
