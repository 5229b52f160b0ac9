package proc

// OnSuspend does nothing: Windows does not stop programs.
func OnSuspend(suspend, resume func()) (cancel func()) { return func() {} }

// Suspend does nothing.
func Suspend() {}
