"""Commands: one verb, one file, one public function, one command of the command line."""
