package testkit

import (
	"bytes"
	"os"
	"strconv"
)

// runnable returns how many threads of the machine are running or wait for a
// processor, 0 if that is not known. See proc_loadavg(5).
func runnable() int {
	b, err := os.ReadFile("/proc/loadavg")
	fields := bytes.Fields(b)
	if err != nil || len(fields) < 4 {
		return 0
	}
	running, _, _ := bytes.Cut(fields[3], []byte("/"))
	n, _ := strconv.Atoi(string(running))
	return n
}
