"""Files: bounded reading of files from others, and writing of files whole or not at all."""
