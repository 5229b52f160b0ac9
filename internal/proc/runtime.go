package proc

import (
	"os"
	"runtime"
	"runtime/debug"
)

// TuneForFiles prepares Go's runtime for the moving of files: for blocks of
// large files, and for many small ones. memory is the limit in bytes, garbage
// included; GOMEMLIMIT and GOMAXPROCS go before it.
func TuneForFiles(memory int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	debug.SetGCPercent(200) // many small files make much garbage, and little of it is ever alive at once
	// Reading and writing large blocks are long system calls. When all Ps are in
	// use the runtime takes them away from those, with a wake-up and another
	// thread each time; when one is idle it does not.
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < 4 {
		runtime.GOMAXPROCS(4)
	}
}
