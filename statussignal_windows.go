package main

import "os"

// statusSignals is empty: there is no such signal here.
var statusSignals []os.Signal
