package lineedit

import "os"

// notifyResize does nothing: Windows has no signal for it.
func notifyResize(chan<- os.Signal) {}
